package main

import (
	"context"
	"encoding/hex"
	"net/url"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/internal/native"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsadapters/wslay"
)

func sessionOf(c *command, s *scope) *kept {
	if c.Via != "" && c.Via != "engine" {
		return keep[c.Via]
	}
	if c.Via == "" && s.session != nil {
		return s.session
	}
	e := engineOf(s)
	if e == nil {
		return nil
	}
	e.script.mu.Lock()
	defer e.script.mu.Unlock()
	return e.script.open
}

func connOf(c *command, s *scope) (conn, error) {
	if c.Via == "own" {
		if own == nil {
			return nil, core.NewError(abi.StatusErrInvalid, "no connection")
		}
		return own, nil
	}
	k := sessionOf(c, s)
	if k == nil {
		return nil, core.NewError(abi.StatusErrInvalid, "no session")
	}
	return k.conn, nil
}

func payload(c *command) (wsadapters.MessageType, []byte, error) {
	kind := wsadapters.Text
	switch c.Type {
	case "", "text":
	case "binary":
		kind = wsadapters.Binary
	default:
		kind = 9
	}
	switch {
	case c.Hex != "":
		data, err := hex.DecodeString(c.Hex)
		return kind, data, err
	case c.Text != "":
		return kind, []byte(c.Text), nil
	}
	return kind, []byte(strings.Repeat(pattern, c.Size/len(pattern)+1)[:c.Size]), nil
}

func runWrite(c *command, s *scope) (fields, error) {
	kind, data, err := payload(c)
	if err != nil {
		return nil, err
	}
	if c.Count == 0 {
		c.Count = 1
	}
	via := c.Via
	if via == "" && s.session == nil {
		via = "engine"
	}
	write := func(ctx context.Context, data []byte) error {
		if via == "engine" {
			return engineOf(s).Write(ctx, kind, data)
		}
		k, err := connOf(c, s)
		if err != nil {
			return err
		}
		return k.Write(ctx, kind, data)
	}
	for written := range c.Count {
		if c.Numbers != 0 {
			data = []byte(strconv.Itoa(written))
		}
		ctx, cancel := c.limit(s)
		err := write(ctx, data)
		cancel()
		if err != nil {
			return fields{"written": written}, err
		}
	}
	return fields{"written": c.Count}, nil
}

func runWriteMany(c *command, s *scope) (fields, error) {
	k, err := connOf(c, s)
	if err != nil {
		return nil, err
	}
	for _, text := range c.Texts {
		ctx, cancel := c.limit(s)
		err := k.Write(ctx, wsadapters.Text, []byte(text))
		cancel()
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func runRead(c *command, s *scope) (fields, error) {
	k, err := connOf(c, s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.limit(s)
	defer cancel()
	kind, data, err := k.Read(ctx)
	if err != nil {
		return nil, err
	}
	shown := messageFields(kind, data)
	shown["stamped"] = true
	return shown, nil
}

func runPing(c *command, s *scope) (fields, error) {
	k, err := connOf(c, s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.limit(s)
	defer cancel()
	began := time.Now()
	err = k.Ping(ctx)
	rtt := time.Since(began).Nanoseconds()
	if err != nil {
		rtt = -1
	}
	last := rtt
	if inner, ok := k.GetUnderlyingWebsocketConnection().(*native.Conn); ok {
		last = int64(inner.K.RTT())
	}
	return fields{"rtt_ns": rtt, "last_rtt_ns": last}, err
}

func runClose(c *command, s *scope) (fields, error) {
	k, err := connOf(c, s)
	if err != nil {
		return nil, err
	}
	if c.Code == 0 {
		c.Code = 1000
	}
	ctx, cancel := c.limit(s)
	defer cancel()
	return nil, k.Close(ctx, wsadapters.StatusCode(c.Code), c.Reason)
}

func corked(c *command, s *scope) (*core.Connection, error) {
	k, err := connOf(c, s)
	if err != nil {
		return nil, err
	}
	inner, ok := k.GetUnderlyingWebsocketConnection().(*native.Conn)
	if !ok {
		return nil, core.NewError(abi.StatusErrUnsupported, "cork")
	}
	return inner.K, nil
}

func runConnect(c *command, s *scope) (fields, error) {
	target, err := url.Parse(c.URL)
	if err != nil {
		return nil, core.NewError(abi.StatusErrInvalid, "url: "+err.Error())
	}
	opts := &wslay.Options{}
	if err := setOptions(reflect.ValueOf(opts).Elem(), c.Options); err != nil {
		return nil, err
	}
	own = wslay.NewWslayWebsocketConnectionAdapter(opts)
	ctx, cancel := c.limit(s)
	defer cancel()
	resp, err := own.Dial(ctx, *target)
	return fields{"response": responseFields(resp)}, err
}

func runDisconnect(*command, *scope) (fields, error) {
	own = nil
	runtime.GC()
	return nil, nil
}
