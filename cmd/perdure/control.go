package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/perdure/perdure/calendar/worker"
	"github.com/perdure/perdure/store"
)

// Commands work on the data by requests to worker.Control, which the process that holds
// the data answers: another one, through a socket in the folder, or this one.

// controlServer answers other commands while this process holds the data.
type controlServer struct {
	srv  *http.Server
	path string
	done chan struct{}
}

// serveControl listens on the folder's socket. In memory there is no folder, and what it
// returns does nothing.
func serveControl(at place, h http.Handler, log *slog.Logger) (*controlServer, error) {
	if at.dir == "" {
		return nil, nil
	}
	l, err := listenSocket(at.dir)
	if err != nil {
		return nil, err
	}
	c := &controlServer{path: filepath.Join(at.dir, socketName), done: make(chan struct{})}
	c.srv = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() {
		defer close(c.done)
		c.srv.Serve(l)
	}()
	return c, nil
}

// close removes the socket and ends requests. It comes before the data is closed: then
// the next process may have a socket there.
func (c *controlServer) close() error {
	if c == nil {
		return nil
	}
	err := os.Remove(c.path)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c.srv.Shutdown(ctx) != nil {
		c.srv.Close()
	}
	<-c.done
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// controlClient sends requests to worker.Control.
type controlClient struct{ http *http.Client }

// patience is how long a command waits for a process that has the data and does not
// answer: it may be starting or ending, or be a command like this one.
const patience = 5 * time.Second

// withControl runs fn with a client, on the data that the flags name.
func (f *dataFlags) withControl(env *environment, fn func(ctx context.Context, c *controlClient) error) error {
	f.commandFolder(env)
	at, err := f.place()
	if err != nil {
		return err
	}
	if at.dir == "" {
		return usageError("--store memory: holds nothing that another command could see")
	}
	cfg, err := f.configure(env)
	if err != nil {
		return err
	}
	cfg.caldav = cfg.caldavOptions(false)
	log := slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		conn, err := dialSocket(env.ctx, at.dir)
		if err == nil {
			return fn(env.ctx, overSocket(at.dir, conn))
		}
		if !errors.Is(err, errNobody) {
			return err
		}
		if at.shared() {
			if c, done, err := cfg.overPeers(env.ctx, at, log); err != nil {
				return err
			} else if c != nil {
				defer done()
				return fn(env.ctx, c)
			}
		}
		st, err := at.open(env.ctx, log)
		if err == nil {
			return cfg.inThisProcess(env.ctx, st, at, log, fn)
		}
		if !errors.Is(err, store.ErrInUse) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-deadline.C:
			return fmt.Errorf("%w, and it does not answer on %s", err, filepath.Join(at.dir, socketName))
		case <-env.ctx.Done():
			return context.Cause(env.ctx)
		}
	}
}

// overSocket returns a client whose first connection there is already.
func overSocket(dir string, first net.Conn) *controlClient {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if conn := first; conn != nil {
			first = nil
			return conn, nil
		}
		return dialSocket(ctx, dir)
	}
	// One request at a time, on a connection of its own: dial needs no lock.
	return &controlClient{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

func (cfg *config) inThisProcess(ctx context.Context, st store.Store, at place, log *slog.Logger, fn func(context.Context, *controlClient) error) error {
	rt, err := cfg.openAsIs(st, log)
	if err != nil {
		return errors.Join(err, st.Close())
	}
	key, err := cfg.key(at)
	if err != nil {
		return errors.Join(err, rt.Close())
	}
	w := cfg.worker(rt, key, log)
	err = fn(ctx, &controlClient{&http.Client{Transport: worker.InProcess(w.Control())}})
	return errors.Join(err, w.Close(), rt.Close())
}

// controlError is what worker.Control says is wrong.
type controlError struct {
	status int
	text   string
}

func (e *controlError) Error() string { return e.text }

// call sends a request with in as its body, if that is not nil, and reads the answer into out.
func (c *controlClient) call(ctx context.Context, method, path string, in, out any) error {
	body, err := c.open(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// open is call for an answer that the caller reads and closes.
func (c *controlClient) open(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	var body io.Reader = http.NoBody
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://perdure"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var request *url.Error
		if errors.As(err, &request) {
			err = request.Err // how it was asked is nobody's business
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var e struct{ Error string }
	if json.NewDecoder(resp.Body).Decode(&e) != nil || e.Error == "" {
		e.Error = "the process that holds the data answers " + resp.Status
	}
	return nil, &controlError{resp.StatusCode, e.Error}
}
