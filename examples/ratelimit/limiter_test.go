package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

var rate = Rate{Every: 10 * time.Second, Burst: 3}

// bench is a limited handler under test; its clients are told apart by a header.
type bench struct {
	*durabletest.Runtime
	passed int
}

func newBench(t *testing.T) *bench {
	return &bench{Runtime: durabletest.New(t, &durable.Options{Classes: []durable.Class{Buckets(rate)}})}
}

// want sends a request and compares the answer.
func (b *bench) want(t *testing.T, client string, code int, retry string) {
	t.Helper()
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { b.passed++ })
	key := func(r *http.Request) string { return r.Header.Get("Client") }
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Client", client)
	w := httptest.NewRecorder()
	before := b.passed
	Limit(b.Namespace("Bucket"), key, next).ServeHTTP(w, r)
	if got := w.Header().Get("Retry-After"); w.Code != code || got != retry {
		t.Errorf("%s got %d, Retry-After %q, want %d, %q", client, w.Code, got, code, retry)
	}
	if passed := b.passed > before; passed != (code == 200) {
		t.Errorf("request passed: %v, with status %d", passed, w.Code)
	}
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for range 3 {
			b.want(t, "a", 200, "")
		}
		b.want(t, "a", 429, "10")
		b.want(t, "b", 200, "") // has a bucket of its own
		time.Sleep(2500 * time.Millisecond)
		b.want(t, "a", 429, "8") // refused requests take nothing, and seconds are rounded up
		time.Sleep(7500 * time.Millisecond)
		b.want(t, "a", 200, "")
		b.want(t, "a", 429, "10")
		time.Sleep(25 * time.Second)
		b.want(t, "a", 200, "")
		b.want(t, "a", 200, "")
		b.want(t, "a", 429, "5")
		time.Sleep(time.Hour) // fills it up, and no more than that
		for range 3 {
			b.want(t, "a", 200, "")
		}
		b.want(t, "a", 429, "10")
	})
}

func TestIdleBucketsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		count := func(want int) {
			t.Helper()
			synctest.Wait()
			if n := len(b.Objects("Bucket")); n != want {
				t.Errorf("%d buckets are stored, want %d", n, want)
			}
		}
		b.want(t, "a", 200, "")
		b.want(t, "b", 200, "")
		time.Sleep(5 * time.Second)
		b.want(t, "b", 200, "") // puts off the end of b's to 20 s
		count(2)
		time.Sleep(6 * time.Second)
		count(1)
		time.Sleep(8 * time.Second)
		count(1)
		time.Sleep(2 * time.Second)
		count(0)
		b.want(t, "a", 200, "")
		count(1)
	})
}

func TestLimitSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.SetTime(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
		for range 3 {
			b.want(t, "a", 200, "")
		}
		b.Crash()
		b.want(t, "a", 429, "10")
		b.Advance(rate.Every)
		b.want(t, "a", 200, "")
		b.Advance(time.Minute)
		if n := len(b.Objects("Bucket")); n != 0 {
			t.Errorf("%d buckets are stored after a minute, want 0", n)
		}
	})
}

func TestLimitIsNotLeftOpen(t *testing.T) {
	b := newBench(t)
	b.Close()
	b.want(t, "a", 503, "")
}

func TestByAddress(t *testing.T) {
	for addr, want := range map[string]string{"192.0.2.1:1234": "192.0.2.1", "[2001:db8::1]:1": "2001:db8::1", "@": "@"} {
		if got := ByAddress(&http.Request{RemoteAddr: addr}); got != want {
			t.Errorf("ByAddress(%q) = %q, want %q", addr, got, want)
		}
	}
}

// TestServe runs the whole program twice on one folder.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	for i, want := range []int{200, 429} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- serve(ctx, l, dir, Rate{Every: time.Hour, Burst: 1}) }()
		resp, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("request %d = %d, want %d", i, resp.StatusCode, want)
		}
		stop()
		if err := <-served; err != nil {
			t.Errorf("serve = %v, want nil after an orderly stop", err)
		}
	}
}
