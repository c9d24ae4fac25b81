package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorillaws "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

// conn is a peer's connection as the loops below want it.
type conn struct {
	read  func() ([]byte, error)
	write func([]byte, bool) error
}

// drive runs a bench with connections that are read one message at a time.
func drive(b *bench, dial func() conn) {
	if b.mode == "idle" {
		for range b.count {
			c := dial()
			go func() { _, _ = c.read() }()
		}
		b.idle()
		return
	}
	c := dial()
	switch b.mode {
	case "recv":
		for {
			if _, err := c.read(); err != nil {
				return
			}
			b.messages++
		}
	case "send":
		for range b.count {
			check(c.write(b.payload, false))
		}
		check(c.write([]byte("count"), true))
		message, err := c.read()
		check(err)
		b.got(message)
	case "rtt":
		for {
			b.asked = time.Now()
			check(c.write(b.payload, false))
			message, err := c.read()
			check(err)
			if b.got(message) {
				return
			}
		}
	}
}

func runGorilla(b *bench) {
	dialer := gorillaws.Dialer{ReadBufferSize: 64 << 10}
	drive(b, func() conn {
		c, _, err := dialer.Dial(b.url, nil)
		check(err)
		return conn{
			read: func() ([]byte, error) { _, p, err := c.ReadMessage(); return p, err },
			write: func(p []byte, text bool) error {
				if text {
					return c.WriteMessage(gorillaws.TextMessage, p)
				}
				return c.WriteMessage(gorillaws.BinaryMessage, p)
			},
		}
	})
}

func runCoder(b *bench) {
	ctx := context.Background()
	drive(b, func() conn {
		c, _, err := websocket.Dial(ctx, b.url, &websocket.DialOptions{CompressionMode: websocket.CompressionDisabled})
		check(err)
		c.SetReadLimit(-1)
		return conn{
			read: func() ([]byte, error) { _, p, err := c.Read(ctx); return p, err },
			write: func(p []byte, text bool) error {
				if text {
					return c.Write(ctx, websocket.MessageText, p)
				}
				return c.Write(ctx, websocket.MessageBinary, p)
			},
		}
	})
}

func runGobwas(b *bench) {
	type stream struct {
		io.Reader
		io.Writer
	}
	drive(b, func() conn {
		c, early, _, err := ws.Dial(context.Background(), b.url)
		check(err)
		var source io.Reader = c
		if early != nil {
			source = io.MultiReader(io.LimitReader(early, int64(early.Buffered())), c)
		}
		both := stream{bufio.NewReaderSize(source, 64<<10), net.Conn(c)}
		return conn{
			read: func() ([]byte, error) { p, _, err := wsutil.ReadServerData(both); return p, err },
			write: func(p []byte, text bool) error {
				if text {
					return wsutil.WriteClientMessage(c, ws.OpText, p)
				}
				return wsutil.WriteClientMessage(c, ws.OpBinary, p)
			},
		}
	})
}

type gwsHandler struct {
	gws.BuiltinEventHandler
	b    *bench
	done chan struct{}
}

func (h *gwsHandler) OnClose(*gws.Conn, error) { close(h.done) }

func (h *gwsHandler) OnMessage(c *gws.Conn, m *gws.Message) {
	last := h.b.got(m.Bytes())
	_ = m.Close()
	switch {
	case last:
		h.b.report()
	case h.b.mode == "rtt":
		h.b.asked = time.Now()
		check(c.WriteMessage(gws.OpcodeBinary, h.b.payload))
	}
}

func runGws(b *bench) {
	dial := func() (*gws.Conn, *gwsHandler) {
		h := &gwsHandler{b: b, done: make(chan struct{})}
		c, _, err := gws.NewClient(h, &gws.ClientOption{Addr: b.url, CheckUtf8Enabled: true, ReadMaxPayloadSize: 1 << 26})
		check(err)
		return c, h
	}
	if b.mode == "idle" {
		for range b.count {
			c, _ := dial()
			go c.ReadLoop()
		}
		b.idle()
		return
	}
	c, h := dial()
	go c.ReadLoop()
	switch b.mode {
	case "send":
		for range b.count {
			check(c.WriteMessage(gws.OpcodeBinary, b.payload))
		}
		check(c.WriteMessage(gws.OpcodeText, []byte("count")))
	case "rtt":
		b.asked = time.Now()
		check(c.WriteMessage(gws.OpcodeBinary, b.payload))
	}
	<-h.done
}
