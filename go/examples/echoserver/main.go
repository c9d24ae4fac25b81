// Echoserver sends every message back until it is told to stop (SIGINT, SIGTERM): echoserver [ADDRESS], localhost:8080 if there is none.
package main

import (
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/wscengine/wscengine/go/echowsserver"
)

func main() {
	address := echowsserver.DefaultAddress
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	server := echowsserver.NewEchoWebsocketServer(&http.Server{Addr: address}, nil)
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	log.Println("listening on", server.Addr())
	<-stop
	if err := server.Stop(); err != nil {
		log.Fatal(err)
	}
}
