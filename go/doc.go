// Package wscengine is a WebSocket client engine: give it a URL and callbacks; it dials, reads, calls back, notices a lost connection, reconnects
// and stops cleanly.
//
//	adapter := wslay.NewWslayWebsocketConnectionAdapter(nil)
//	engine, err := wscengine.NewWebsocketEngine(target, adapter, client, nil, nil)
//	err = engine.Start(ctx)
//	defer engine.Stop(context.Background())
//
// The lifecycle runs in C for every adapter. With the wslay adapter the connection does too, and messages come in batches; with another the
// messages never leave Go.
package wscengine
