package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/davserver"
	"github.com/perdure/perdure/calendar/worker"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pebblestore"
)

const (
	userName = "alice"
	password = "secret"
)

// server is one that is measured.
type server struct {
	name     string
	address  string // http://127.0.0.1:PORT/..., as a person would type it
	calendar string // path of the calendar
	handler  http.Handler
	bulk     bool // takes a whole calendar in one PUT
	stop     func()
}

// answer is what a request got.
type answer struct {
	responses int // elements of a multi-status; 0 for another answer
	body      []byte
}

var responseElement = regexp.MustCompile(`<(?:\w+:)?response[ >]`)

// send sends a request over loopback and reads the answer whole. Any status but 2xx is
// an error.
func (s *server) send(ctx context.Context, method, path, depth, body string) (answer, error) {
	origin := s.address[:len("http://")+strings.IndexByte(s.address[len("http://"):], '/')]
	req, err := http.NewRequestWithContext(ctx, method, origin+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.SetBasicAuth(userName, password)
	req.Header.Set("Content-Type", contentType(body))
	if depth != "" {
		req.Header.Set("Depth", depth)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s at %s: %s: %.300s", method, path, s.name, resp.Status, data)
	}
	return answer{len(responseElement.FindAllIndex(data, -1)), data}, err
}

func contentType(body string) string {
	if strings.HasPrefix(body, "BEGIN:") {
		return "text/calendar; charset=utf-8"
	}
	return "application/xml; charset=utf-8"
}

// client returns a CalDAV client over loopback.
func (s *server) client() (*caldav.Client, error) {
	return caldav.New(s.address, &caldav.Options{Credential: caldav.Credential{Username: userName, Password: password}})
}

// inProcess returns a client that calls our server as perdure serve does.
func (s *server) inProcess() (*caldav.Client, error) {
	as := davserver.User{ID: userName, Name: userName}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handler.ServeHTTP(w, r.WithContext(davserver.WithUser(r.Context(), as)))
	})
	return caldav.New("http://localhost/dav/", &caldav.Options{Transport: worker.InProcess(h)})
}

// startOwn starts our server on Pebble, behind Basic auth.
func (b *bench) startOwn(context.Context) (*server, error) {
	st, err := pebblestore.Open(filepath.Join(b.dir, "own"), nil)
	if err != nil {
		return nil, err
	}
	rt, err := durable.Open(st, &durable.Options{Classes: davserver.Classes()})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	dav := davserver.New(rt, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, rt.Close())
	}
	srv := &http.Server{Handler: authenticated(dav)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		srv.Serve(l)
	}()
	return &server{
		name: "perdure", address: "http://" + l.Addr().String() + "/dav/", calendar: "/dav/calendars/" + userName + "/bench/", handler: dav,
		stop: func() {
			srv.Close()
			<-ended
			rt.Close()
		},
	}, nil
}

func authenticated(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, secret, _ := r.BasicAuth()
		if name != userName || subtle.ConstantTimeCompare([]byte(secret), []byte(password)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="bench"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r.WithContext(davserver.WithUser(r.Context(), davserver.User{ID: name, Name: name})))
	})
}

// startRadicale starts Radicale; nil if it is not installed.
func (b *bench) startRadicale(ctx context.Context) (*server, error) {
	path, err := exec.LookPath("radicale")
	if err != nil {
		return nil, nil
	}
	users := filepath.Join(b.dir, "users")
	if err := os.WriteFile(users, []byte(userName+":"+password+"\n"), 0o600); err != nil {
		return nil, err
	}
	var output string
	for range 3 { // another process may take the port in between
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		addr := l.Addr().String()
		l.Close()
		cmd := exec.CommandContext(ctx, path, "--config", "", "--server-hosts", addr, "--logging-level", "info",
			"--storage-filesystem-folder", filepath.Join(b.dir, "radicale"), "--auth-type", "htpasswd",
			"--auth-htpasswd-filename", users, "--auth-htpasswd-encryption", "plain", "--auth-delay", "0")
		stop, text, err := startProcess(cmd, "Radicale server ready")
		if err != nil {
			return nil, err
		}
		if stop != nil {
			return &server{name: "Radicale", address: "http://" + addr + "/", calendar: "/" + userName + "/bench/", bulk: true, stop: stop}, nil
		}
		output = text
	}
	return nil, fmt.Errorf("radicale does not start: %s", output)
}

// startProcess waits until a process says that it is ready; stop is nil if it ended
// before.
func startProcess(cmd *exec.Cmd, ready string) (stop func(), output string, err error) {
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
		w.Close()
	}()
	var text bytes.Buffer
	for lines := bufio.NewScanner(r); lines.Scan(); {
		fmt.Fprintln(&text, lines.Text())
		if strings.Contains(lines.Text(), ready) {
			go io.Copy(io.Discard, r)
			return func() {
				cmd.Process.Kill()
				<-ended
			}, "", nil
		}
	}
	<-ended
	return nil, text.String(), nil
}
