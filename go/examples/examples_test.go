// Package examples_test runs the examples, each in a process of its own. feed is what ci/demo runs.
package examples_test

import (
	"bufio"
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wscengine/wscengine/go/echowsserver"
)

var folder string

func TestMain(m *testing.M) {
	folder, _ = os.MkdirTemp("", "examples")
	build := exec.Command("go", "build", "-o", folder, "./...")
	build.Stderr = os.Stderr
	if build.Run() != nil {
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(status)
}

func echo(t *testing.T) string {
	server := echowsserver.NewEchoWebsocketServer(&http.Server{Addr: "127.0.0.1:0"}, log.New(io.Discard, "", 0))
	require.NoError(t, server.Start())
	t.Cleanup(func() { _ = server.Stop() })
	return "ws://" + server.Addr().String() + "/"
}

type process struct {
	*exec.Cmd
	out, err bytes.Buffer
}

func start(t *testing.T, name string, arguments ...string) *process {
	p := &process{Cmd: exec.Command(filepath.Join(folder, name), arguments...)}
	p.Stdout, p.Stderr = &p.out, &p.err
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	return p
}

// ends waits for the process, which must be content.
func (p *process) ends(t *testing.T) {
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	select {
	case err := <-ended:
		require.NoError(t, err, p.err.String())
	case <-time.After(30 * time.Second):
		require.Fail(t, "it does not end", p.err.String())
	}
}

func TestTheEchoClientPrintsEchoesAndTraces(t *testing.T) {
	p := start(t, "echoclient", echo(t), "2")
	p.ends(t)
	require.Equal(t, "hello 1\nhello 2\n", p.out.String())
	for _, span := range []string{"wscengine.start", "websocket.dial", "wscengine.callback.on_message", "websocket.close"} {
		require.Contains(t, p.err.String(), `"Name":"`+span+`"`)
	}
}

func TestTheEchoServerStopsOnSIGTERM(t *testing.T) {
	p := exec.Command(filepath.Join(folder, "echoserver"), "127.0.0.1:0")
	said, err := p.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill() })
	line, err := bufio.NewReader(said).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "listening on 127.0.0.1:")
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.Wait())
}

func TestBothWaysOfAskingFindTheirAnswers(t *testing.T) {
	p := start(t, "request", echo(t), "20")
	p.ends(t)
	lines := strings.Split(strings.TrimSpace(p.out.String()), "\n")
	require.Len(t, lines, 40)
	require.Equal(t, `paused: {"id": 0}`, lines[0])
	require.Contains(t, lines, `matched: {"id": 39}`)
}

func TestTheServiceServesAndShutsDownGracefully(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	_ = listener.Close()
	p := start(t, "service", address, echo(t))
	get := func(path string) string {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	require.Eventually(t, func() bool { return get("/price") == "subscribe" }, 20*time.Second, 10*time.Millisecond)
	require.Contains(t, get("/health"), `"state":"open"`)
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	p.ends(t)
}
