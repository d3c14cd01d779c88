package main

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

//go:embed workerd
var workerdFiles embed.FS

// server is a program that is measured, and its process while it runs.
type server struct {
	name    string
	version string
	command func(dir string) *exec.Cmd
	addr    func(line string) string              // in a line that it prints once it listens, or ""
	request func(operation, object string) []byte // noop, get or inc
	kept    string                                // in what get answers after the first inc

	dir  string
	at   string // host:port
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	incs int           // increments that were answered
}

// start begins the process, under the wrapper if there is one, and returns once it listens.
func (s *server) start(dir string, wrapper ...string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	cmd := s.command(dir)
	if len(wrapper) > 0 {
		path, err := exec.LookPath(wrapper[0])
		if err != nil {
			return err
		}
		cmd.Args = append(wrapper, append([]string{cmd.Path}, cmd.Args[1:]...)...)
		cmd.Path = path
	}
	cmd.Dir = dir
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.dir, s.cmd, s.at, s.done = dir, cmd, "", make(chan struct{})
	late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(out)
	for s.at == "" && lines.Scan() {
		s.at = s.addr(lines.Text())
	}
	go func() {
		defer close(s.done)
		io.Copy(io.Discard, out)
		cmd.Wait() // how it ended says nothing: it was told to
	}()
	if s.at == "" {
		s.end(syscall.SIGKILL)
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s ended without listening: %.500s", s.name, said)
	}
	return nil
}

// end sends a signal and waits for the process.
func (s *server) end(sig os.Signal) {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(patience):
		s.cmd.Process.Kill()
		<-s.done
	}
	s.cmd = nil
}

// ask sends one request over a connection of its own.
func (s *server) ask(ctx context.Context, request []byte) (string, error) {
	c, err := dial(ctx, s.at)
	if err != nil {
		return "", err
	}
	defer c.Close()
	body, err := c.ask(request)
	return string(body), err
}

// counters asks for /{operation}/{object} below prefix.
func counters(prefix string) func(operation, object string) []byte {
	return func(operation, object string) []byte { return get(prefix + "/" + operation + "/" + object) }
}

// own is this program as a server.
func own(name, kind string) *server {
	return &server{
		name:    name,
		request: counters(""),
		kept:    "1",
		command: func(dir string) *exec.Cmd {
			self, err := os.Executable()
			if err != nil {
				self = os.Args[0]
			}
			return exec.Command(self, "-serve", kind, "-data", dir)
		},
		addr: func(line string) string {
			var h hello
			json.Unmarshal([]byte(line), &h) // what is not it has no address
			return h.Addr
		},
	}
}

// perdure is perdure serve, built into dir.
func perdure(ctx context.Context, dir string) (*server, error) {
	program := filepath.Join(dir, "perdure")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s", "-o", program, "github.com/perdure/perdure/cmd/perdure")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build perdure: %w: %s", err, out)
	}
	listens := regexp.MustCompile(`health +http://(\S+)/health`)
	return &server{
		name:    "perdure serve",
		request: session,
		kept:    `"theme":"dark"`,
		command: func(dir string) *exec.Cmd {
			cmd := exec.Command(program, "serve", "--port", "0", "--data", dir)
			cmd.Env = append(os.Environ(), "PERDURE_RATE_LIMIT=0")
			return cmd
		},
		addr: func(line string) string {
			if m := listens.FindStringSubmatch(line); m != nil {
				return m[1]
			}
			return ""
		},
	}, nil
}

// session is the request to perdure serve that comes nearest: inc makes a session in a
// store of its own, get reads it.
func session(operation, object string) []byte {
	path := "/objects/SESSIONS/" + object
	if operation == "inc" {
		return post(path+"/create", `{"sessionId":"s","userId":"ann","data":{"theme":"dark"}}`)
	}
	return get(path + "/get?id=s")
}

// workerd is the runtime of JavaScript Durable Objects; prefix chooses the namespace.
func workerd(program, dir, name, prefix string) (*server, error) {
	if err := os.CopyFS(dir, workerdFiles); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	return &server{
		name:    name,
		request: counters(prefix),
		kept:    "1",
		version: strings.TrimSpace(string(out)),
		command: func(data string) *exec.Cmd {
			return exec.Command(program, "serve", "--control-fd=1", "--socket-addr=http=127.0.0.1:0",
				"--directory-path=data="+data, filepath.Join(dir, "workerd", "config.capnp"))
		},
		addr: func(line string) string {
			var listens struct {
				Socket string
				Port   int
			}
			if json.Unmarshal([]byte(line), &listens); listens.Socket == "" {
				return ""
			}
			return fmt.Sprint("127.0.0.1:", listens.Port)
		},
	}, nil
}

// findWorkerd returns the program: of npm ci in bench/peers, else that in the PATH, else "".
func findWorkerd() string {
	for _, dir := range []string{".", "bench/peers"} {
		found, _ := filepath.Glob(filepath.Join(dir, "node_modules/@cloudflare/workerd-*/bin/workerd"))
		if len(found) > 0 {
			path, err := filepath.Abs(found[0])
			if err == nil {
				return path
			}
		}
	}
	path, _ := exec.LookPath("workerd")
	return path
}
