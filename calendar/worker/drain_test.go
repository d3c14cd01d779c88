package worker

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

// TestDrain has a request run when the end begins: it is finished, and nobody is let in.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Options{})
		if err := b.SeedMe(t.Context()); err != nil {
			t.Fatal(err)
		}
		body, answered := newPausedBody(), make(chan int)
		go func() {
			r := httptest.NewRequest("PUT", "http://localhost/dav/calendars/me/personal/x.ics", body)
			rw := httptest.NewRecorder()
			b.ServeHTTP(rw, r)
			answered <- rw.Code
		}()
		<-body.reading
		short, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Drain(short); !errors.Is(err, context.Canceled) {
			t.Errorf("Drain while a request runs = %v, want the context's error", err)
		}
		rw := b.status("PROPFIND", "/dav/", "localhost")
		if rw.Code != 503 || rw.Header().Get(EndingHeader) == "" || rw.Header().Get("Retry-After") == "" || rw.Header().Get("Connection") != "close" {
			t.Errorf("request at the end = %d %v, want 503", rw.Code, rw.Header())
		}
		if rw := b.status("GET", "/health", "localhost"); rw.Code != 503 || !strings.Contains(rw.Body.String(), "draining") {
			t.Errorf("/health at the end = %d %s, want 503 and draining", rw.Code, rw.Body)
		}
		drained := make(chan error, 1)
		go func() { drained <- b.Drain(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-drained:
			t.Fatalf("Drain = %v while a request runs", err)
		default:
		}
		close(body.resume)
		if code := <-answered; code == 0 || code == 503 {
			t.Errorf("the request that ran = %d, want its answer", code)
		}
		if err := <-drained; err != nil {
			t.Errorf("Drain = %v", err)
		}
		for range 2 {
			if err := b.Worker.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		}
	})
}

// pausedBody is a request's body that waits.
type pausedBody struct {
	reading chan struct{}
	resume  chan struct{}
	rest    *strings.Reader
	started bool
}

func newPausedBody() *pausedBody {
	return &pausedBody{reading: make(chan struct{}), resume: make(chan struct{}), rest: strings.NewReader("BEGIN:VCALENDAR")}
}

func (p *pausedBody) Read(buf []byte) (int, error) {
	if !p.started {
		p.started = true
		close(p.reading)
		<-p.resume
	}
	return p.rest.Read(buf)
}
