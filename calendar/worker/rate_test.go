package worker

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

// TestRate has a user send more than is allowed: he is told when to come again, and
// another is not held back.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Options{Rate: 10})
		secrets := make(map[string]string)
		for _, name := range []string{"ann", "bob"} {
			_, secrets[name] = b.add(name)
		}
		send := func(name, path string) *httptest.ResponseRecorder {
			return b.status("GET", path, "localhost", "Authorization", "Bearer "+secrets[name])
		}
		through := func(name, path string) (n int) {
			for send(name, path).Code != http.StatusTooManyRequests {
				n++
			}
			return n
		}
		if n := through("ann", "/api/calendars"); n != 100 {
			t.Errorf("%d requests at once, want %d", n, 100)
		}
		for _, path := range []string{"/mcp", "/sse", "/messages", "/api/calendars"} { // one bucket
			rw := send("ann", path)
			if rw.Code != 429 || rw.Header().Get("Retry-After") != "1" {
				t.Errorf("GET %s right after = %d, Retry-After %q; want 429 and 1", path, rw.Code, rw.Header().Get("Retry-After"))
			}
		}
		if n := through("bob", "/api/calendars"); n != 100 {
			t.Errorf("another user's requests at once: %d, want %d", n, 100)
		}
		time.Sleep(time.Second)
		if n := through("ann", "/api/calendars"); n != 10 { // those refused have cost nothing
			t.Errorf("%d requests a second later, want 10", n)
		}
		if n := through("ann", "/dav/"); n != 1000 {
			t.Errorf("%d requests at once at /dav/, want 1000 more", n)
		}
		time.Sleep(time.Hour)
		if n := through("ann", "/api/calendars"); n != 100 {
			t.Errorf("%d requests at once an hour later, want 100", n)
		}
	})
}

func TestRateOfTheSingleUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := durabletest.New(t, &durable.Options{Classes: BuiltIn(new(calmcp.Link))}).Runtime
		for rate, want := range map[float64]int{0.5: 5, 0.01: 1, 0: 1000, -1: 2000} {
			w := New(rt, &Options{Rate: rate})
			n := 0
			for n < 2000 && w.status("GET", "/api/calendars", "localhost").Code != 429 {
				n++
			}
			if n != want {
				t.Errorf("%d requests at once with a rate of %v, want %d", n, rate, want)
			}
		}
	})
}

func TestRateIsBounded(t *testing.T) {
	l, now := newLimits(1), noon
	for i := range 2 * maxLimited {
		if err := l.take(fmt.Sprint(i), now); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.users); n > maxLimited {
		t.Errorf("%d buckets, want at most %d", n, maxLimited)
	}
	// Those that are full again go first.
	now = now.Add(time.Hour)
	for range 10 {
		l.take("busy", now)
	}
	for i := range maxLimited {
		l.take(fmt.Sprint("new", i), now)
	}
	var why *refusal
	if err := l.take("busy", now); !errors.As(err, &why) || why.wait != time.Second {
		t.Errorf("take = %v: the busy one was forgotten", err)
	}
}
