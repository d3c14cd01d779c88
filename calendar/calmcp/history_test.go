package calmcp_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/durable"
)

// A client that comes back by the number of the last event that it has seen misses no
// change, whatever happens in between: connections that break unnoticed, crashes, sleep.
func TestNotificationHistory(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	w := newWorld(t, sleepy)
	c := w.connect("ann", "2025-11-25")
	c.subscribe("test://a")
	var stream *listener
	last := ""
	dirty := false // there was a change that the client has not heard of
	hear := func(e event) {
		if e.id != "" {
			last = e.id
		}
		if strings.Contains(e.data, "resources/updated") {
			dirty = false
		}
	}
	hearOut := func() { // until the change has come
		t.Helper()
		limit := time.NewTimer(time.Minute)
		defer limit.Stop()
		for dirty {
			select {
			case e, ok := <-stream.events:
				if !ok {
					t.Fatal("the stream has ended")
				}
				hear(e)
			case <-limit.C:
				t.Fatalf("seed %d: the client has missed a change; last event %q", seed, last)
			}
		}
	}
	for step := range 150 {
		switch op := rnd.IntN(8); {
		case op < 3:
			w.notify("ann", "test://a")
			dirty = true
			if stream != nil && op > 0 {
				hearOut()
			}
		case op == 3 && stream == nil, op == 4 && stream == nil:
			stream = c.get(last)
			hear(<-stream.events) // that it has begun
			if op == 4 {
				hearOut()
			}
		case op == 5 && stream != nil: // it breaks, with what is on its way; does the server notice?
			stream.close()
			stream = nil
			if rnd.IntN(2) == 0 {
				w.evict(c.session)
			}
		case op == 6 && rnd.IntN(3) == 0:
			w.crash()
			if stream != nil {
				stream.ends()
				stream = nil
			}
		case op == 7:
			if got := c.tool("who"); got != "ann in "+c.session {
				t.Fatalf("step %d: who = %q", step, got)
			}
		}
	}
	if stream == nil {
		stream = c.get(last)
	}
	hearOut()
}

// Many clients at once, over crashes: nobody gets anything of another's, and every answer
// is one that a client can act on.
func TestManyClients(t *testing.T) {
	w := newWorld(t, func(o *calmcp.HandlerOptions, d *durable.Options) { o.MaxSessions = 8; sleepy(o, d) })
	var wg sync.WaitGroup
	for i := range 12 {
		user := []string{"ann", "bob", "cid"}[i%3]
		wg.Go(func() {
			seed := rand.Uint64()
			rnd := rand.New(rand.NewPCG(seed, 0))
			session, version := "", "2025-11-25"
			do := func(r *http.Request) (int, string, http.Header) {
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					return 0, "", nil // the front is being replaced
				}
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				return resp.StatusCode, string(body), resp.Header
			}
			for range 60 {
				switch {
				case session == "":
					_, _, h := do(w.request("POST", "/mcp", user, "", "", fmt.Sprintf(initializeBody, version)))
					session = h.Get("Mcp-Session-Id")
				case rnd.IntN(12) == 0:
					do(w.request("DELETE", "/mcp", user, session, version, ""))
					session = ""
				case rnd.IntN(6) == 0:
					ctx, cancel := contextOf(w.request("GET", "/", user, "", "", ""))
					r := w.request("GET", "/mcp", user, session, version, "").WithContext(ctx)
					time.AfterFunc(time.Duration(rnd.Int64N(int64(5*time.Millisecond))), cancel)
					do(r)
				default:
					name := []string{"who", "touch"}[rnd.IntN(2)]
					r := w.request("POST", "/mcp", user, session, version, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{}}}`, name))
					if rnd.IntN(3) == 0 {
						r = w.modern(user, "tools/call", fmt.Sprintf(`"name":%q,"arguments":{}`, name))
					}
					code, body, _ := do(r)
					switch {
					case code == 404:
						session = "" // it made room for another
					case code == 200 && strings.Contains(body, `"result"`) && name == "who" && !strings.Contains(body, user+" in"):
						t.Errorf("as %s: %s", user, body)
					case code != 200 && code != 0 && code != 503 && code != 500:
						t.Errorf("as %s: %d %s", user, code, body)
					}
				}
			}
		})
	}
	stop := make(chan struct{})
	crashes := make(chan struct{})
	go func() {
		defer close(crashes)
		for range 5 {
			select {
			case <-stop:
				return
			case <-time.After(30 * time.Millisecond):
				w.crash()
			}
		}
	}()
	wg.Wait()
	close(stop)
	<-crashes
	for _, user := range []string{"ann", "bob", "cid"} {
		index, err := calmcp.Index(t.Context(), w.rt.Namespace(calmcp.UserClass).Named(user))
		if err != nil || len(index) > 8 {
			t.Errorf("%s has %d sessions, %v, limit 8", user, len(index), err)
		}
	}
}
