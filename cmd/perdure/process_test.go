package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary the program itself when asked to, so that tests
// can run, signal and kill a real process.
func TestMain(m *testing.M) {
	if os.Getenv("PERDURE_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is a `perdure serve` that a test has started.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	base   string // http://host:port
	stdout *strings.Builder
	stderr *strings.Builder
	read   chan struct{} // closed when the output has ended
	done   bool
}

var listening = regexp.MustCompile(`health\s+(http://\S+)/health`)

// start runs the program in dir and returns when it says where it serves.
func start(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	p := launch(t, dir, env, args...)
	select {
	case <-p.ready():
	case <-time.After(time.Minute):
		p.kill()
		t.Fatal("perdure did not say where it serves within a minute")
	}
	if p.base == "" {
		p.wait()
		t.Fatalf("perdure %q did not start: %s", args, p.stderr)
	}
	return p
}

func launch(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(exe, args...), stdout: new(strings.Builder), stderr: new(strings.Builder), read: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{"PERDURE_TEST_MAIN=1", "PATH=" + os.Getenv("PATH"), "HOME=" + dir}, env...)
	p.cmd.Stderr = p.stderr
	t.Cleanup(p.kill)
	return p
}

// ready starts the process; the channel is closed when base is known or the output has ended.
func (p *process) ready() <-chan struct{} {
	p.t.Helper()
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	known := make(chan struct{})
	go func(known chan<- struct{}) {
		defer close(p.read)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			fmt.Fprintln(p.stdout, lines.Text())
			if m := listening.FindStringSubmatch(lines.Text()); m != nil && p.base == "" {
				p.base = m[1]
			}
			if strings.HasPrefix(lines.Text(), "Try: ") {
				close(known)
				known = nil
				io.Copy(io.Discard, out)
			}
		}
		if known != nil {
			close(known)
		}
	}(known)
	return known
}

// wait returns the exit status.
func (p *process) wait() int {
	p.t.Helper()
	p.done = true
	<-p.read
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends the process in good order.
func (p *process) stop() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

// kill ends it without warning.
func (p *process) kill() {
	if p.done || p.cmd.Process == nil {
		return
	}
	p.done = true
	p.cmd.Process.Kill()
	<-p.read
	p.cmd.Wait()
}

// do sends a request and returns status and body.
func (p *process) do(method, path, body string, header ...string) (int, string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(data)
}
