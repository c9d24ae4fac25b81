// Package echowsserver is a WebSocket server that sends every message back: for tests and for trying things out.
package echowsserver

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// DefaultAddress is where a server listens that was made without an http.Server.
const DefaultAddress = "localhost:8080"

// EchoWebsocketServer may be started again after it was stopped.
type EchoWebsocketServer struct {
	server   *http.Server
	logger   *log.Logger
	upgrader websocket.Upgrader

	mu       sync.Mutex
	running  *http.Server
	listener net.Listener
	conns    map[*websocket.Conn]bool
	sessions sync.WaitGroup
}

// NewEchoWebsocketServer makes a server that is not started. httpServer nil: one that listens on DefaultAddress; otherwise its address and its
// settings count, and its handler is replaced. logger nil: the default one.
func NewEchoWebsocketServer(httpServer *http.Server, logger *log.Logger) *EchoWebsocketServer {
	if httpServer == nil {
		httpServer = &http.Server{Addr: DefaultAddress, ReadHeaderTimeout: 10 * time.Second}
	}
	if logger == nil {
		logger = log.Default()
	}
	s := &EchoWebsocketServer{server: httpServer, logger: logger, conns: map[*websocket.Conn]bool{}}
	s.upgrader.CheckOrigin = func(*http.Request) bool { return true }
	httpServer.Handler = s
	return s
}

// Start listens and returns; connections are served until Stop. It is an error when the server is started already or cannot listen.
func (s *EchoWebsocketServer) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return errors.New("echo server: it is started already")
	}
	listener, err := net.Listen("tcp", s.server.Addr)
	if err != nil {
		return err
	}
	s.listener = listener
	s.running = &http.Server{Addr: s.server.Addr, Handler: s, ReadHeaderTimeout: s.server.ReadHeaderTimeout, ErrorLog: s.logger}
	go func(server *http.Server) {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.logger.Println("echo server:", err)
		}
	}(s.running)
	return nil
}

// Addr is where a started server listens: with port 0 in its address the port that it got.
func (s *EchoWebsocketServer) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Stop closes all connections with 1001 and returns when their goroutines have ended. It is an error when the server is not started.
func (s *EchoWebsocketServer) Stop() error {
	s.mu.Lock()
	if s.running == nil {
		s.mu.Unlock()
		return errors.New("echo server: it is not started")
	}
	server := s.running
	s.running = nil
	for conn := range s.conns {
		goodbye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
		_ = conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
		_ = conn.SetReadDeadline(time.Now().Add(time.Second)) // for the answer
	}
	s.mu.Unlock()
	s.sessions.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

// ServeHTTP upgrades one connection and echoes until it ends.
func (s *EchoWebsocketServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.logger.Println("echo server:", err)
		return
	}
	s.mu.Lock()
	s.conns[conn] = true
	s.sessions.Add(1)
	s.mu.Unlock()
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		s.sessions.Done()
	}()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err := conn.WriteMessage(kind, message); err != nil {
			return
		}
	}
}
