package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

func newRuntime(t *testing.T) *durabletest.Runtime {
	return durabletest.New(t, &durable.Options{Classes: []durable.Class{class}})
}

func answer(rt *durabletest.Runtime, method, path string) (int, string) {
	w := httptest.NewRecorder()
	handler(rt.Runtime).ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestCounters(t *testing.T) {
	rt := newRuntime(t)
	for _, step := range []struct {
		method, path string
		code         int
		text         string
	}{
		{"GET", "/counters/a", 200, "0"},
		{"POST", "/counters/a", 200, "1"},
		{"POST", "/counters/a", 200, "2"},
		{"GET", "/counters/a", 200, "2"},
		{"GET", "/counters/b", 200, "0"},
		{"POST", "/counters/a%2Fb", 200, "1"},
		{"GET", "/counters/a", 200, "2"},
		{"DELETE", "/counters/a", 405, "Method Not Allowed"},
		{"GET", "/counters/", 404, "404 page not found"},
	} {
		if code, text := answer(rt, step.method, step.path); code != step.code || text != step.text {
			t.Errorf("%s %s = %d %q, want %d %q", step.method, step.path, code, text, step.code, step.text)
		}
	}
	if n := len(rt.Objects("Counter")); n != 2 {
		t.Errorf("%d counters are stored, want 2: reading one must not make it", n)
	}
}

func TestNoneIsLost(t *testing.T) {
	rt := newRuntime(t)
	const clients, each = 8, 25
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				if code, text := answer(rt, "POST", "/counters/a"); code != 200 {
					t.Errorf("POST = %d %s", code, text)
				}
			}
		})
	}
	wg.Wait()
	rt.Crash()
	if _, text := answer(rt, "GET", "/counters/a"); text != "200" {
		t.Errorf("counted %s after a crash, want %d", text, clients*each)
	}
}

// TestServe runs the whole program twice on one folder.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []string{"1\n", "2\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- serve(ctx, l, dir) }()

		resp, err := http.Post("http://"+l.Addr().String()+"/counters/a", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(text) != want || err != nil {
			t.Errorf("POST = %q, %v, want %q", text, err, want)
		}
		stop()
		if err := <-served; err != nil {
			t.Errorf("serve = %v, want nil after an orderly stop", err)
		}
	}
}
