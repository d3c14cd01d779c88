package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/davserver"
)

// A removal ends a user's requests in all processes before any data is deleted, and says
// so if it could not.
func TestRemovalReachesOtherProcesses(t *testing.T) {
	var b *bed
	unreachable := errors.New("node x does not answer")
	var told []string
	var fail error
	b = newBed(t, Options{Elsewhere: func(_ context.Context, user string) error {
		told = append(told, user)
		if _, err := b.accounts.Find(t.Context(), user); user != accounts.Me && !errors.Is(err, accounts.ErrNoUser) {
			t.Errorf("told while the user could still come in: %v", err)
		}
		return fail
	}})
	ann, secret := b.add("ann")
	b.add("bob")
	told = nil
	fail = unreachable
	if code, text := b.control("DELETE", "/users/ann?purge=true", ""); code != 500 || !strings.Contains(text, unreachable.Error()) {
		t.Errorf("removal that did not reach a node = %d %s", code, text)
	}
	if code := b.dav("PROPFIND", "/dav/", "", "ann", secret); code != 401 {
		t.Errorf("the removed user gets %d, want 401", code)
	}
	fail = nil
	if code, text := b.control("DELETE", "/users/"+ann.ID+"?purge=true", ""); code != 200 {
		t.Errorf("the removal again = %d %s", code, text)
	}
	if len(told) != 2 || told[0] != ann.ID || told[1] != ann.ID {
		t.Errorf("told of %q, want twice of %q", told, ann.ID)
	}
}

// What another process asks for: the user's requests here end, and it returns when they have.
func TestExpel(t *testing.T) {
	b := newBed(t, Options{})
	r, leave := b.visits.enter(httptest.NewRequest("GET", "/", nil), "ann", httptest.NewRecorder())
	context.AfterFunc(r.Context(), leave)
	if err := b.Expel(t.Context(), "ann"); err != nil || context.Cause(r.Context()) != errExpelled {
		t.Errorf("Expel: %v, and the request's context ended with %v", err, context.Cause(r.Context()))
	}
}

func TestAnnounce(t *testing.T) {
	b := newBed(t, Options{})
	b.Announce()
	rec := httptest.NewRecorder()
	b.ServeHTTP(rec, httptest.NewRequest("GET", "http://127.0.0.1/health", nil))
	if rec.Code != 503 || !strings.Contains(rec.Body.String(), "draining") {
		t.Errorf("/health = %d %s, want 503 and draining", rec.Code, rec.Body)
	}
	if code := b.dav("PROPFIND", "/dav/", "", "", ""); code != 207 {
		t.Errorf("PROPFIND = %d, want 207: requests are still served", code)
	}
}

// elsewhere is a calendar server that is not ours, for the single user of another worker,
// with what it was asked.
type elsewhere struct {
	*bed
	mu    sync.Mutex
	asked int // guarded by mu
	down  bool
	wrong string // a password that it refuses
}

func newElsewhere(t *testing.T) *elsewhere {
	e := &elsewhere{bed: newBed(t, Options{})}
	if err := e.SeedMe(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

// options are those of a worker whose single user's calendars are there.
func (e *elsewhere) options() Options {
	return Options{
		Nextcloud: accounts.Credential{Server: "https://nc.example/dav/", Username: "me", Password: "p"},
		CalDAV:    caldav.Options{Transport: e},
	}
}

// RoundTrip implements [http.RoundTripper].
func (e *elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	e.asked++
	down := e.down
	_, password, _ := r.BasicAuth()
	wrong := password == e.wrong
	e.mu.Unlock()
	switch {
	case down:
		return nil, errors.New("connection refused")
	case wrong:
		return &http.Response{StatusCode: 401, Status: "401 Unauthorized", Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
	return InProcess(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		e.Worker.dav.ServeHTTP(rw, r.WithContext(davserver.WithUser(r.Context(), davUser(me))))
	})).RoundTrip(r)
}

// requests is how often it was asked since the last time.
func (e *elsewhere) requests() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, e.asked = e.asked, 0
	return n
}

func (e *elsewhere) put(t *testing.T, name string) {
	t.Helper()
	if code := e.dav("PUT", "/dav/calendars/me/personal/"+name+".ics", fmt.Sprintf(event, name), "me", ""); code/100 != 2 {
		t.Fatalf("PUT = %d", code)
	}
}

func (b *bed) titles(t *testing.T) (all []string) {
	t.Helper()
	list, err := b.calendar.User(accounts.Me).ListEvents(t.Context(), calendar.Query{Calendars: []string{"personal"}, Start: "2026-01-02", End: "2026-01-02"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Events {
		all = append(all, e.Title)
	}
	return all
}

// CACHE_TTL is how long the tools' copies are believed, too.
func TestTTLOfCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := newElsewhere(t)
		opts := there.options()
		opts.TTL = 3 * time.Second
		b := newBed(t, opts)
		b.titles(t)
		there.put(t, "x")
		there.requests()
		time.Sleep(2 * time.Second)
		if got, n := b.titles(t), there.requests(); len(got) != 0 || n != 0 {
			t.Errorf("within the TTL: %q after %d requests, want the copy", got, n)
		}
		time.Sleep(time.Second)
		if got := b.titles(t); len(got) != 1 {
			t.Errorf("after the TTL: %q, want the new event", got)
		}
	})
}

// A password that is new here is tried at the first read, however young the copy is; a wrong
// one gets nothing of it, costs one request, and is in the log once.
func TestNewPasswordIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := newElsewhere(t)
		there.put(t, "x")
		var log strings.Builder
		opts := there.options()
		opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
		b := newBed(t, opts)
		restart := func(password string) {
			b.opts.Nextcloud.Password = password
			b.crash()
			there.requests()
		}
		b.titles(t)
		restart("p")
		if got, n := b.titles(t), there.requests(); len(got) != 1 || n != 0 {
			t.Errorf("with the same password: %q after %d requests, want the copy", got, n)
		}
		there.mu.Lock()
		there.wrong = "mistyped"
		there.mu.Unlock()
		restart("mistyped")
		for range 3 {
			_, err := b.calendar.User(accounts.Me).ListEvents(t.Context(), calendar.Query{Calendars: []string{"personal"}})
			if !errors.Is(err, calendar.ErrUnauthorized) || !strings.Contains(err.Error(), "app password where it is configured") {
				t.Errorf("with a wrong password: %v", err)
			}
		}
		if n := there.requests(); n != 1 {
			t.Errorf("%d requests with a wrong password, want one", n)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "refuses") || strings.Contains(log.String(), "mistyped") {
			t.Errorf("%d warnings:\n%s", n, log.String())
		}
		restart("another")
		if got, n := b.titles(t), there.requests(); len(got) != 1 || n != 1 {
			t.Errorf("with a new password: %q after %d requests, want one", got, n)
		}
		if got, n := b.titles(t), there.requests(); len(got) != 1 || n != 0 {
			t.Errorf("again: %q after %d requests, want the copy", got, n)
		}
		restart("p")
		there.mu.Lock()
		there.down = true
		there.mu.Unlock()
		if got := b.titles(t); len(got) != 1 {
			t.Errorf("while the server is down: %q, want the last copy", got)
		}
	})
}
