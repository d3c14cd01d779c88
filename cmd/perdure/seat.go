package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/perdure/perdure/calendar/worker"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
)

// seat is a process's place at data that several processes want. Whoever has the folder's
// lock serves the others through its socket; when that process ends, one of the others gets
// the lock and goes on. A server that is started comes before all of them: they let it have
// the lock.
type seat struct {
	cfg    *config
	at     place
	log    *slog.Logger
	broken func(error) // called if this process served and its store broke

	mu     sync.Mutex
	own    *host        // guarded by mu; not nil while this process serves
	line   *line        // guarded by mu; to own
	server *http.Server // guarded by mu; of line
	after  time.Time    // guarded by mu; until then others may have the lock
	closed bool         // guarded by mu
	loan   *loan        // guarded by mu; of our Nextcloud, to another process
	wg     sync.WaitGroup
}

const (
	// seatPatience is how long somebody waits who finds the data held and nobody serving:
	// a large store that is opened, or one that is closed.
	seatPatience = 30 * time.Second
	// seatCourtesy is how long one who was asked for the lock does not try to get it again.
	seatCourtesy = 5 * time.Second
	// seatGrace is how long calls under way may take when the lock is given away.
	seatGrace = 10 * time.Second
)

// client returns a client whose requests reach the process that serves, this one or another.
// Each request has a connection of its own, so that it either reaches one or fails at once.
func (s *seat) client() *http.Client {
	return &http.Client{Transport: &toWhoeverServes{http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) },
		DisableKeepAlives: true,
	}}}
}

// toWhoeverServes sends a request again that a process did not take because it is ending.
type toWhoeverServes struct{ http.Transport }

func (t *toWhoeverServes) RoundTrip(r *http.Request) (*http.Response, error) {
	for deadline := time.Now().Add(seatPatience); ; {
		resp, err := t.Transport.RoundTrip(r)
		if err != nil || resp.Header.Get(worker.EndingHeader) == "" || time.Now().After(deadline) || r.Body != nil && r.GetBody == nil {
			return resp, err
		}
		resp.Body.Close()
		select {
		case <-time.After(50 * time.Millisecond):
		case <-r.Context().Done():
			return nil, context.Cause(r.Context())
		}
		r = r.Clone(r.Context())
		if r.Body != nil {
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

func (s *seat) dial(ctx context.Context) (net.Conn, error) {
	deadline := time.NewTimer(seatPatience)
	defer deadline.Stop()
	for {
		conn, err := s.try(ctx)
		if err == nil || !errors.Is(err, errNobody) && !errors.Is(err, store.ErrInUse) {
			return conn, err
		}
		if s.at.shared() && errors.Is(err, store.ErrInUse) { // on another machine, or by several
			return nil, fmt.Errorf("%w: use the server's /mcp", err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-deadline.C:
			return nil, fmt.Errorf("the process that holds the data does not answer: %w", err)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// try connects to whoever serves, if need be by becoming that.
func (s *seat) try(ctx context.Context) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, net.ErrClosed
	case s.own != nil:
		return s.line.dial()
	}
	if s.at.dir != "" {
		err := s.lendLocked(ctx)
		if err == nil {
			var conn net.Conn
			if conn, err = dialSocket(ctx, s.at.dir); err == nil {
				return conn, nil
			}
		}
		if !errors.Is(err, errNobody) {
			return nil, err
		}
	}
	if time.Now().Before(s.after) {
		return nil, errNobody
	}
	if err := s.serveLocked(ctx); err != nil {
		return nil, err
	}
	return s.line.dial()
}

// serveLocked makes this process the one that serves.
func (s *seat) serveLocked(ctx context.Context) error {
	st, err := s.at.open(ctx, s.log)
	if err != nil {
		return err
	}
	rt, err := s.cfg.openOrMake(st, s.log)
	if err != nil {
		return errors.Join(err, st.Close())
	}
	h, err := s.cfg.host(context.WithoutCancel(ctx), rt, s.at, s.log, s.release)
	if err != nil {
		return err
	}
	s.own, s.line = h, newLine()
	s.server = &http.Server{Handler: h.handler, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}
	s.wg.Go(func() { s.server.Serve(s.line) })
	s.wg.Go(func() {
		<-rt.Draining()
		if err := rt.Err(); err != nil && !errors.Is(err, durable.ErrClosed) {
			s.broken(err)
		}
	})
	s.log.Debug("this process serves the data", "data", s.at.String())
	return nil
}

// release gives the lock away, in the background.
func (s *seat) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil || s.closed || time.Now().Before(s.after) {
		return
	}
	s.after = time.Now().Add(seatGrace + seatCourtesy)
	s.wg.Go(func() {
		s.mu.Lock() // nobody connects meanwhile
		defer s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), seatGrace)
		defer cancel()
		if err := s.endLocked(ctx); err != nil {
			s.log.Warn("the data was not given away in good order", "error", err)
		}
		s.after = time.Now().Add(seatCourtesy)
	})
}

func (s *seat) endLocked(ctx context.Context) error {
	if s.own == nil {
		return nil
	}
	err := s.own.close(ctx, s.log, func(ctx context.Context) {
		if s.server.Shutdown(ctx) != nil {
			s.server.Close()
		}
	})
	s.own, s.line, s.server = nil, nil, nil
	return err
}

// close leaves. If this process served, it ends that in good order.
func (s *seat) close(ctx context.Context) error {
	s.mu.Lock()
	err := s.endLocked(ctx)
	s.closed = true
	if s.loan != nil {
		s.loan.end()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// askForRelease asks whoever serves a folder to let go of it. It reports whether that
// will be done, or whether there is nobody to ask, who may be about to go.
func askForRelease(ctx context.Context, dir string) (bool, error) {
	conn, err := dialSocket(ctx, dir)
	if errors.Is(err, errNobody) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://perdure/release", bytes.NewReader(nil))
	if err != nil {
		return false, err
	}
	resp, err := overSocket(dir, conn).http.Do(req)
	if err != nil {
		return true, nil // it was ending
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusAccepted, nil
}

// isServed reports whether some process serves a folder.
func isServed(ctx context.Context, dir string) bool {
	conn, err := dialSocket(ctx, dir)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// openPatiently opens a store that others may hold who let go of it when asked.
func (p place) openPatiently(ctx context.Context, log *slog.Logger) (store.Store, error) {
	deadline := time.Now().Add(seatPatience)
	for asked := false; ; {
		st, err := p.open(ctx, log)
		if err == nil || !errors.Is(err, store.ErrInUse) || time.Now().After(deadline) {
			return st, err
		}
		if p.shared() && !isServed(ctx, p.dir) {
			return nil, err // by another machine, or by several
		}
		willing, aerr := askForRelease(ctx, p.dir)
		if aerr != nil || !willing {
			return nil, err
		}
		if !asked {
			log.Info("another process holds the data and has been asked for it")
			asked = true
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
