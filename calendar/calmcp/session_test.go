package calmcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/durable"
)

// Whoever is not the session's user gets what there is for a session that never was, on
// every way, byte for byte, before and after a crash.
func TestForeignSession(t *testing.T) {
	w := newWorld(t, sleepy)
	c := w.connect("ann", "2025-11-25")
	c.subscribe("test://a")
	stream := w.listen(w.request("GET", "/sse", "ann", "", "", ""))
	endpoint := stream.next().data
	const unknown = "AAAAAAAAAAAAAAAAAAAAAAAAAA"
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"who","arguments":{}}}`
	check := func(t *testing.T) {
		t.Helper()
		want := w.do(w.request("POST", "/mcp", "ann", unknown, c.version, call))
		if want.status != 404 || !strings.Contains(want.body, "Session not found") {
			t.Fatalf("unknown session: %d %s", want.status, want.body)
		}
		for _, r := range []*http.Request{
			w.request("POST", "/mcp", "bob", c.session, c.version, call),
			w.request("POST", "/mcp", "bob", c.session, c.version, fmt.Sprintf(initializeBody, c.version)),
			w.request("POST", "/mcp", "bob", c.session, c.version, "no JSON"),
			w.request("GET", "/mcp", "bob", c.session, c.version, ""),
			w.request("GET", "/mcp", "bob", c.session, c.version, "", "Last-Event-Id", "_0"),
			w.request("DELETE", "/mcp", "bob", c.session, c.version, ""),
			w.request("POST", "/mcp", "bob", c.session, c.version, call, "Perdure-User", "ann"),
			w.request("POST", "/mcp", "ann", "../"+c.session, c.version, call),
			w.request("POST", "/messages?sessionId="+c.session, "ann", "", "", call),
			w.request("POST", "/messages?sessionId="+c.session, "bob", "", "", call),
			w.request("POST", "/messages?sessionId="+unknown, "ann", "", "", call),
			w.request("POST", "/messages?sessionId=x", "ann", "", "", call),
			w.request("POST", endpoint, "bob", "", "", call),
			w.request("POST", "/mcp", "ann", strings.TrimPrefix(endpoint, "/messages?sessionId="), c.version, call),
		} {
			got := w.do(r)
			if got.status != want.status || got.body != want.body || got.header.Get("Content-Type") != want.header.Get("Content-Type") {
				t.Errorf("%s %s as %s: %d %q, want %d %q", r.Method, r.URL, r.Header.Get("X-User"), got.status, got.body, want.status, want.body)
			}
		}
		for _, path := range []string{"/mcp", "/sse", "/messages?sessionId=" + c.session} {
			method := map[bool]string{true: "GET", false: "POST"}[path == "/sse"]
			if got := w.do(w.request(method, path, "nobody", c.session, c.version, call)); got.status != 401 {
				t.Errorf("%s without a user: %d, want 401", path, got.status)
			}
		}
		if got := c.tool("who"); got != "ann in "+c.session {
			t.Errorf("who = %q", got)
		}
	}
	t.Run("before", check)
	w.evict(c.session)
	t.Run("evicted", check)
	w.crash()
	t.Run("crashed", check)

	// What happens to the one is not told to the other.
	d := w.connect("bob", "2025-11-25")
	d.subscribe("test://a")
	mine := d.get("")
	w.notify("ann", "test://a")
	w.h.Notify(t.Context(), "ann", nil, true)
	w.notify("bob", "test://a")
	wantEvent(t, mine.next(), updated("test://a"))
	w.h.Close()
	if rest := mine.ends(); len(rest) > 0 {
		t.Errorf("bob was told %+v", rest)
	}
}

// Only initialize makes a session, and only one that succeeds.
func TestOnlyInitializeBegins(t *testing.T) {
	w := newWorld(t, nil)
	for _, tt := range []struct {
		method, body string
		status       int
	}{
		{"POST", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`, 400},
		{"POST", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 400},
		{"POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, 400},
		{"POST", `{"jsonrpc":"2.0","method":"initialize","params":{}}`, 400},
		{"POST", `[` + fmt.Sprintf(initializeBody, "2025-03-26") + `]`, 400},
		{"POST", ``, 400},
		{"POST", `{`, 400},
		{"POST", `{"jsonrpc":"2.0","id":1,"method":"initialize"}`, 400},
		{"GET", ``, 400},
		{"DELETE", ``, 400},
		{"PUT", ``, 405},
	} {
		r := w.do(w.request(tt.method, "/mcp", "ann", "", "", tt.body))
		if r.status != tt.status || r.header.Get("Mcp-Session-Id") != "" {
			t.Errorf("%s %.50s: %d %s, want %d and no session", tt.method, tt.body, r.status, r.body, tt.status)
		}
	}
	if all := w.rt.Objects(calmcp.SessionClass); len(all) > 0 {
		t.Errorf("%d sessions were made", len(all))
	}
	c := w.connect("ann", "2025-11-25")
	if all := w.rt.Objects(calmcp.SessionClass); len(all) != 1 || all[0].Name != c.session {
		t.Errorf("objects %+v, want the session %s", all, c.session)
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-11-25")
	c.subscribe("test://a")
	stream := c.get("")
	if r := w.do(w.request("DELETE", "/mcp", "ann", c.session, c.version, "")); r.status != 204 {
		t.Fatalf("DELETE: %d %s", r.status, r.body)
	}
	stream.ends()
	for _, method := range []string{"POST", "GET", "DELETE"} {
		if r := w.do(w.request(method, "/mcp", "ann", c.session, c.version, "{}")); r.status != 404 {
			t.Errorf("%s after DELETE: %d, want 404", method, r.status)
		}
	}
	w.notify("ann", "test://a")
	for _, class := range []string{calmcp.SessionClass, calmcp.UserClass} {
		if all := w.rt.Objects(class); len(all) > 0 {
			t.Errorf("left of %s: %+v", class, all)
		}
	}
}

// The SDK's session ends with the instance: nothing of it stays behind.
func TestEvictionLeavesNoGoroutine(t *testing.T) {
	w := newWorld(t, sleepy)
	c := w.connect("ann", "2025-11-25")
	c.subscribe("test://a")
	w.evict(c.session)
	http.DefaultClient.CloseIdleConnections()
	before := settledGoroutines(0, 100)
	servers := w.servers.Load()
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	for range rounds {
		rec := httptest.NewRecorder()
		r := c.w.request("POST", "/mcp", "ann", c.session, c.version, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		w.h.MCP().ServeHTTP(rec, r.WithContext(calmcp.WithUser(t.Context(), "ann")))
		if rec.Code != 200 {
			t.Fatalf("ping: %d %s", rec.Code, rec.Body)
		}
		w.evict(c.session)
	}
	if n := w.servers.Load() - servers; n != int64(rounds) {
		t.Errorf("%d servers were made, want %d", n, rounds)
	}
	if after := settledGoroutines(before+5, 6000); after > before+5 {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after %d evictions\n%.5000s", before, after, rounds, buf[:runtime.Stack(buf, true)])
	}
}

// settledGoroutines counts goroutines until there are no more than want, or often enough.
func settledGoroutines(want, looks int) int {
	n := runtime.NumGoroutine()
	for range looks {
		if n <= want {
			break
		}
		time.Sleep(10 * time.Millisecond)
		n = runtime.NumGoroutine()
	}
	return n
}

// Calls of one session that wait for something do not keep others from running.
func TestCallsRunSideBySide(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-06-18")
	replies := make(chan reply, 3)
	for i := range 3 {
		r := w.request("POST", "/mcp", "ann", c.session, c.version, fmt.Sprintf(`{"jsonrpc":"2.0","id":"w%d","method":"tools/call","params":{"name":"wait","arguments":{}}}`, i))
		go func() { replies <- w.do(r) }()
	}
	for range 3 {
		<-w.started
	}
	if got := c.tool("who"); got != "ann in "+c.session {
		t.Errorf("who = %q", got)
	}
	close(w.release)
	for range 3 {
		if got := resultText(t, <-replies); got != "waited" {
			t.Errorf("wait = %q", got)
		}
	}
}

// A client that loses the connection in the middle of a call comes back for the answer:
// in the same process, when the object was put to sleep, and after a crash.
func TestResumeCall(t *testing.T) {
	for _, lose := range []string{"nothing", "evict", "crash"} {
		t.Run(lose, func(t *testing.T) {
			w := newWorld(t, sleepy)
			c := w.connect("ann", "2025-11-25")
			r := w.request("POST", "/mcp", "ann", c.session, c.version, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"wait","arguments":{}}}`)
			call := w.listen(r)
			begin := <-call.events
			if begin.id == "" || begin.data != "" {
				t.Fatalf("the stream begins with %+v", begin)
			}
			<-w.started
			call.close()
			if lose == "nothing" { // it resumes before the answer is there
				again := c.get(begin.id)
				w.release <- struct{}{}
				answer := again.next()
				if !strings.Contains(answer.data, `"id":7`) || !strings.Contains(answer.data, "waited") {
					t.Errorf("answer %+v", answer)
				}
				again.ends()
				return
			}
			w.release <- struct{}{}
			if err := <-w.ended; err != nil {
				t.Errorf("the call was told to end: %v", err)
			}
			w.quiet(c.session)
			if lose == "evict" {
				w.evict(c.session)
			} else {
				w.crash()
			}
			again := c.get(begin.id)
			answer := again.next()
			if !strings.Contains(answer.data, `"id":7`) || !strings.Contains(answer.data, "waited") {
				t.Errorf("answer %+v", answer)
			}
			again.ends()
			if again = c.get(answer.id); len(again.ends()) > 0 {
				t.Error("more after the last event")
			}
			for _, id := range []string{strings.TrimSuffix(answer.id, "1") + "2", "NOSUCHSTREAM_0", "x", "_7"} {
				if l, status, _ := w.tryListen(c.getRequest(id)); l != nil || status != 400 {
					t.Errorf("GET after %q: %d, want 400", id, status)
				}
			}
		})
	}
}

// A stream that was answered whole can be asked for again, later too.
func TestResumeAnswered(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-11-25")
	r := c.call("tools/call", `{"name":"who","arguments":{}}`)
	id := ""
	for line := range strings.Lines(r.body) {
		if v, ok := strings.CutPrefix(line, "id: "); ok && id == "" {
			id = strings.TrimSpace(v)
		}
	}
	w.quiet(c.session)
	w.crash()
	stream := c.get(id)
	if e := stream.next(); !strings.Contains(e.data, "ann in") {
		t.Errorf("event %+v", e)
	}
	stream.ends()
}

// What nobody has heard is told to the next stream, once; what was heard is not repeated.
func TestUnheardNotifications(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-11-25")
	c.subscribe("test://a")
	c.subscribe("test://b")
	for range 5 { // they say the same
		w.notify("ann", "test://a", "test://b")
		w.h.Notify(t.Context(), "ann", nil, true)
	}
	w.crash()
	w.notify("ann", "test://b")
	w.h.Notify(t.Context(), "ann", nil, true)
	stream := c.get("")
	wantEvent(t, stream.next(), updated("test://a"))
	wantEvent(t, stream.next(), updated("test://b"))
	last := stream.next()
	wantEvent(t, last, `{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}`)
	stream.close()
	w.quiet(c.session)
	w.notify("ann", "test://b") // news, for whoever has heard the old
	w.crash()
	stream = c.get("")
	wantEvent(t, stream.next(), updated("test://b"))
	stream.close()
	w.quiet(c.session)
	stream = c.get(last.id)
	wantEvent(t, stream.next(), updated("test://b"))
	w.h.Notify(t.Context(), "ann", nil, true)
	wantEvent(t, stream.next(), `{"jsonrpc":"2.0","method":"notifications/resources/list_changed","params":{}}`)
}

// The log is bounded in events and bytes; what was dropped is an error, not a gap.
func TestLogIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*calmcp.HandlerOptions)
	}{
		{"events", func(o *calmcp.HandlerOptions) { o.LogEvents = 3 }},
		{"bytes", func(o *calmcp.HandlerOptions) { o.LogBytes = 3*len(updated("test://a")) + 10 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(o *calmcp.HandlerOptions, _ *durable.Options) { tt.set(o) })
			c := w.connect("ann", "2025-11-25")
			c.subscribe("test://a")
			stream := c.get("")
			for range 10 {
				w.notify("ann", "test://a")
				stream.next()
			}
			stream.close()
			w.quiet(c.session)
			for _, lose := range []func(){func() {}, w.crash} {
				lose()
				for _, id := range []string{"_0", "_6"} {
					if l, status, _ := w.tryListen(c.getRequest(id)); l != nil || status != 400 {
						t.Errorf("GET after %s, which was dropped: %d, want 400", id, status)
					}
				}
				for _, id := range []string{"_7", "_9"} {
					l := c.get(id)
					want := map[string]string{"_7": "_8", "_9": "_10"}[id]
					if e := l.next(); e.id != want {
						t.Errorf("after %s comes %s, want %s", id, e.id, want)
					}
					l.close()
					w.quiet(c.session)
				}
				l := c.get("") // no error, though the first events are gone
				l.close()
				w.quiet(c.session)
			}
		})
	}
}

// What waits for a client that never comes is bounded too, and the rest is told.
func TestLogOfSleeperIsBounded(t *testing.T) {
	w := newWorld(t, func(o *calmcp.HandlerOptions, _ *durable.Options) { o.LogEvents = 2 })
	c := w.connect("ann", "2025-11-25")
	for i := range 5 {
		c.subscribe(fmt.Sprintf("test://a?%d", i))
	}
	for i := range 5 {
		w.notify("ann", fmt.Sprintf("test://a?%d", i))
	}
	w.crash()
	stream := c.get("")
	wantEvent(t, stream.next(), updated("test://a?3"))
	wantEvent(t, stream.next(), updated("test://a?4"))
}

// At the end of the server streams end at once, and calls are answered.
func TestDrain(t *testing.T) {
	for _, version := range []string{"2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t, nil)
			var streams []*listener
			var r *http.Request
			if version == "2026-07-28" {
				streams = append(streams, w.listen(w.modern("ann", "subscriptions/listen", `"notifications":{"resourceSubscriptions":["test://a"]}`)))
				streams[0].next()
				r = w.modern("ann", "tools/call", `"name":"wait","arguments":{}`)
			} else {
				c := w.connect("ann", version)
				streams = append(streams, c.get(""), w.listen(w.request("GET", "/sse", "ann", "", "", "")))
				r = w.request("POST", "/mcp", "ann", c.session, version, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"wait","arguments":{}}}`)
			}
			answered := make(chan reply, 1)
			go func() { answered <- w.do(r) }()
			<-w.started
			down := make(chan error, 1)
			go func() { down <- w.rt.Shutdown(context.Background()) }()
			for _, s := range streams {
				s.ends()
			}
			select {
			case err := <-down:
				t.Errorf("the runtime did not wait for the call: %v", err)
			default:
			}
			close(w.release)
			if got := resultText(t, <-answered); got != "waited" {
				t.Errorf("the call's answer: %q", got)
			}
			if err := <-down; err != nil {
				t.Error(err)
			}
		})
	}
}

// A session that is not used ends; an open stream and a call use it.
func TestExpiry(t *testing.T) {
	w := newWorld(t, func(o *calmcp.HandlerOptions, d *durable.Options) { o.SessionTTL = 10 * time.Hour; sleepy(o, d) })
	idle, used, open := w.connect("ann", "2025-11-25"), w.connect("ann", "2025-11-25"), w.connect("ann", "2025-11-25")
	idle.subscribe("test://a")
	stream := open.get("")
	w.rt.Advance(9 * time.Hour)
	used.tool("who")
	for _, c := range []*peer{used, idle} {
		w.evict(c.session)
	}
	w.rt.Advance(2 * time.Hour)
	if r := idle.call("ping", "{}"); r.status != 404 {
		t.Errorf("unused for 11 hours: %d, want 404", r.status)
	}
	used.tool("who")
	open.tool("who")
	w.crash()
	stream.ends()
	used.tool("who")
	w.rt.Advance(11 * time.Hour)
	if r := used.call("ping", "{}"); r.status != 404 {
		t.Errorf("unused for 11 hours: %d, want 404", r.status)
	}
	for _, class := range []string{calmcp.SessionClass, calmcp.UserClass} {
		if all := w.rt.Objects(class); len(all) > 0 {
			t.Errorf("left of %s: %+v", class, all)
		}
	}
}

// What the SDK answers in part, or as something else than it looks like, leaves nothing behind
// that is waited for.
func TestBodiesInPart(t *testing.T) {
	w := newWorld(t, func(o *calmcp.HandlerOptions, _ *durable.Options) { o.MaxStreams = 2 })
	c := w.connect("ann", "2025-03-26")
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for body, want := range map[string]int{
		ping + ping:                   400,
		ping + " x":                   400,
		"[" + ping + "," + ping + "]": 400,
		"[" + ping + `,{"jsonrpc":"2.0","id":1.0,"method":"ping"}]`: 400,
		"[" + ping + `,{"jsonrpc":"2.0","id":"1","method":"ping"}]`: 200,
		strings.Replace(ping, "}", `,"Method":""}`, 1):              200,
		strings.Replace(ping, "}", `,"ID":2}`, 1):                   200,
	} {
		for range 4 {
			if r := c.send(body); r.status != want {
				t.Errorf("%s: %d %s, want %d", body, r.status, r.body, want)
			}
		}
	}
}

// One session too many ends the one that was not used for the longest time. (Of an open
// stream of HTTP+SSE only the beginning counts.)
func TestMaxSessions(t *testing.T) {
	w := newWorld(t, func(o *calmcp.HandlerOptions, _ *durable.Options) { o.MaxSessions = 3 })
	var all []*peer
	for range 3 {
		all = append(all, w.connect("ann", "2025-11-25"))
	}
	other := w.connect("bob", "2025-11-25")
	stream := all[1].get("") // that is use, too
	w.rt.Advance(20 * time.Hour)
	all[0].tool("who")
	sleeper := w.listen(w.request("GET", "/sse", "ann", "", "", "")) // a fourth
	for i, want := range []int{200, 200, 404} {
		if r := all[i].call("ping", "{}"); r.status != want {
			t.Errorf("session %d: %d, want %d", i, r.status, want)
		}
	}
	w.rt.Advance(20 * time.Hour)
	all[0].tool("who")
	w.connect("ann", "2025-11-25")
	sleeper.ends()
	stream.close()
	other.tool("who")
}

func TestLimits(t *testing.T) {
	w := newWorld(t, func(o *calmcp.HandlerOptions, _ *durable.Options) {
		o.MaxStreams, o.MaxSubscriptions, o.MaxBodyBytes = 2, 2, 6000
	})
	c := w.connect("ann", "2025-11-25")
	c.subscribe("test://a")
	c.subscribe("test://b")
	c.subscribe("test://b")
	if m := c.call("resources/subscribe", `{"uri":"test://c"}`).messages(); !strings.Contains(canonical(m), "more than 2 subscriptions") {
		t.Errorf("a third subscription: %v", m)
	}
	if m := c.call("resources/subscribe", `{"uri":"test://`+strings.Repeat("x", 1100)+`"}`).messages(); !strings.Contains(canonical(m), "limit 1024") {
		t.Errorf("a long URI: %v", m)
	}
	if m := c.call("resources/unsubscribe", `{"uri":"test://`+strings.Repeat("x", 5000)+`"}`).messages(); len(m) == 0 || strings.Contains(canonical(m), "error") {
		t.Errorf("no longer subscribed to a long URI: %v", m)
	}
	c.call("resources/unsubscribe", `{"uri":"test://b"}`)
	c.subscribe("test://c")
	long := `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("x", 6000) + `"}}`
	if r := c.send(long); r.status != 413 || !strings.Contains(r.body, "6000 bytes") {
		t.Errorf("a long body: %d %s", r.status, r.body)
	}
	r := w.request("POST", "/mcp", "ann", c.session, c.version, long)
	r.ContentLength = -1
	if r := w.do(r); r.status != 413 {
		t.Errorf("a long body of unknown length: %d %s", r.status, r.body)
	}
	streams := []*listener{c.get("")}
	call := w.request("POST", "/mcp", "ann", c.session, c.version, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"wait","arguments":{}}}`)
	streams = append(streams, w.listen(call))
	<-w.started
	if r := c.call("ping", "{}"); r.status != 429 || r.header.Get("Retry-After") == "" {
		t.Errorf("a third request: %d %s", r.status, r.body)
	}
	close(w.release)
	streams[1].ends()
	for c.call("ping", "{}").status != 200 { // the other's event may not be over
		runtime.Gosched()
	}
}

func TestPanicOfTool(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-11-25")
	if got := c.tool("panic"); !strings.Contains(got, "Internal error") || strings.Contains(got, "of the tool") {
		t.Errorf("panic = %q", got)
	}
	if got := c.tool("who"); got != "ann in "+c.session {
		t.Errorf("who = %q", got)
	}
	if got := resultText(t, w.do(w.modern("ann", "tools/call", `"name":"panic","arguments":{}`))); !strings.Contains(got, "Internal error") {
		t.Errorf("panic = %q", got)
	}
}

// A client that has lost its connection opens the stream anew before the server notices.
func TestNewStreamReplacesOld(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-11-25")
	c.subscribe("test://a")
	old := c.get("")
	w.notify("ann", "test://a")
	first := old.next()
	for range 3 {
		next := c.get(first.id)
		old.ends()
		w.notify("ann", "test://a")
		first = next.next()
		wantEvent(t, first, updated("test://a"))
		old = next
	}
	r := w.request("POST", "/mcp", "ann", c.session, c.version, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"wait","arguments":{}}}`)
	call := w.listen(r)
	begin := <-call.events
	<-w.started
	again := c.get(begin.id)
	close(w.release)
	if e := again.next(); !strings.Contains(e.data, "waited") {
		t.Errorf("answer %+v", e)
	}
	again.ends()
	if rest := call.ends(); len(rest) > 0 {
		t.Errorf("the lost connection got %+v", rest)
	}
}

// The server asks the client in the middle of a call.
func TestElicitation(t *testing.T) {
	w := newWorld(t, nil)
	for _, version := range []string{"2025-06-18", "2025-11-25"} {
		c := w.connect("ann", version)
		call := w.listen(w.request("POST", "/mcp", "ann", c.session, version, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"ask","arguments":{}}}`))
		var question struct {
			ID     any
			Method string
		}
		if err := json.Unmarshal([]byte(call.next().data), &question); err != nil || question.Method != "elicitation/create" {
			t.Fatalf("question %+v, %v", question, err)
		}
		if r := c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"accept","content":{}}}`, canonical(question.ID))); r.status != 202 {
			t.Fatalf("answer: %d %s", r.status, r.body)
		}
		if e := call.next(); !strings.Contains(e.data, "accept") {
			t.Errorf("result %+v", e)
		}
		call.ends()
	}
}

func TestKeepAlive(t *testing.T) {
	w := newWorld(t, func(o *calmcp.HandlerOptions, _ *durable.Options) { o.KeepAlive = time.Millisecond })
	c := w.connect("ann", "2025-11-25")
	for name, stream := range map[string]*listener{
		"standalone": c.get(""),
		"sse":        w.listen(w.request("GET", "/sse", "ann", "", "", "")),
		"call":       w.listen(w.request("POST", "/mcp", "ann", c.session, c.version, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"wait","arguments":{}}}`)),
		"listen":     w.listen(w.modern("ann", "subscriptions/listen", `"notifications":{"resourceSubscriptions":["test://a"]}`)),
	} {
		if got := stream.resp.Header.Get("X-Accel-Buffering"); got != "no" {
			t.Errorf("%s: X-Accel-Buffering: %q", name, got)
		}
		for e := range stream.events {
			if e.name == "comment" && e.data == "keep-alive" {
				break
			}
		}
	}
	close(w.release)
}

func TestEndUser(t *testing.T) {
	w := newWorld(t, nil)
	c, d := w.connect("ann", "2025-11-25"), w.connect("bob", "2025-11-25")
	c.subscribe("test://a")
	streams := []*listener{
		c.get(""), w.listen(w.request("GET", "/sse", "ann", "", "", "")),
		w.listen(w.modern("ann", "subscriptions/listen", `"notifications":{"resourceSubscriptions":["test://a"]}`)),
	}
	theirs := d.get("")
	answered := make(chan reply, 1)
	r := w.request("POST", "/mcp", "ann", c.session, c.version, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"wait","arguments":{}}}`)
	go func() { answered <- w.do(r) }()
	<-w.started
	for range 2 {
		if err := w.h.EndUser(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range streams {
		s.ends()
	}
	<-answered
	if err := <-w.ended; err == nil {
		t.Error("the call went on")
	}
	if r := c.call("ping", "{}"); r.status != 404 {
		t.Errorf("session of a user who has ended: %d", r.status)
	}
	for _, o := range append(w.rt.Objects(calmcp.SessionClass), w.rt.Objects(calmcp.UserClass)...) {
		if o.Name != d.session && o.Name != "bob" {
			t.Errorf("left: %+v", o)
		}
	}
	d.subscribe("test://a")
	w.notify("bob", "test://a")
	theirs.next()
}

func TestClose(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-11-25")
	stream := c.get("")
	for range 2 {
		if err := w.h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stream.ends()
	if r := c.call("ping", "{}"); r.status != 503 {
		t.Errorf("after Close: %d", r.status)
	}
}

// A call goes on and counts when its client has left.
func TestCallsWithoutClientCount(t *testing.T) {
	w := newWorld(t, func(o *calmcp.HandlerOptions, _ *durable.Options) { o.MaxStreams = 2 })
	c := w.connect("ann", "2025-11-25")
	for i := range 2 {
		call := w.listen(w.request("POST", "/mcp", "ann", c.session, c.version, fmt.Sprintf(`{"jsonrpc":"2.0","id":"w%d","method":"tools/call","params":{"name":"wait","arguments":{}}}`, i)))
		<-w.started
		call.close()
	}
	if r := c.call("ping", "{}"); r.status != 429 {
		t.Errorf("while two calls run: %d, want 429", r.status)
	}
	close(w.release)
	w.quiet(c.session)
	if r := c.call("ping", "{}"); r.status != 200 {
		t.Errorf("ping: %d", r.status)
	}
}

// A tool whose client has left may still use storage and notify.
func TestCallWithoutClientWorks(t *testing.T) {
	w := newWorld(t, sleepy)
	c := w.connect("ann", "2025-11-25")
	c.subscribe("test://a")
	call := w.listen(w.request("POST", "/mcp", "ann", c.session, c.version, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wait and touch","arguments":{}}}`))
	<-w.started
	call.close()
	w.release <- struct{}{}
	<-w.ended
	w.evict(c.session)
	stream := c.get("")
	wantEvent(t, stream.next(), updated("test://a"))
}

// However much a crash has left in the index, it keeps nobody from beginning a session: it
// goes in steps that fit into a turn.
func TestManyStreamsThatCrashed(t *testing.T) {
	w := newWorld(t, func(_ *calmcp.HandlerOptions, o *durable.Options) { o.Limits.TurnBytes = 256 << 10 })
	user := w.rt.Namespace(calmcp.UserClass).Named("ann")
	if err := calmcp.LeaveStreams(t.Context(), user, 200); err != nil { // 400 KiB of keys
		t.Fatal(err)
	}
	w.rt.Advance(4 * time.Hour)
	for want := 200; want > 0; {
		want = max(want-32, 0)
		w.connect("ann", "2025-11-25")
		index, err := calmcp.Index(t.Context(), user)
		left := 0
		for _, id := range index {
			if strings.HasPrefix(id, "0000") {
				left++
			}
		}
		if err != nil || left != want {
			t.Fatalf("%d of the old sessions are left, %v; want %d", left, err, want)
		}
	}
}

// What a crash leaves of HTTP+SSE in the index does not stay for ever, and takes no room.
func TestStreamsThatCrashed(t *testing.T) {
	w := newWorld(t, func(o *calmcp.HandlerOptions, _ *durable.Options) { o.MaxSessions = 3 })
	first := w.connect("ann", "2025-11-25")
	for range 2 {
		w.listen(w.request("GET", "/sse", "ann", "", "", "")).next()
	}
	w.crash()
	w.rt.Advance(4 * time.Hour)
	second := w.connect("ann", "2025-11-25")
	index, err := calmcp.Index(t.Context(), w.rt.Namespace(calmcp.UserClass).Named("ann"))
	if err != nil || len(index) != 2 {
		t.Errorf("index %v, %v, want the two sessions that there are", index, err)
	}
	first.tool("who")
	second.tool("who")
}

// A stream begins with a number, so that what is lost on its way can be asked for even by
// a client that has received nothing.
func TestStreamBeginsWithNumber(t *testing.T) {
	for _, version := range revisions {
		w := newWorld(t, nil)
		c := w.connect("ann", version)
		c.subscribe("test://a")
		stream := c.get("")
		if version < "2025-11-25" { // such clients would take it for a message
			w.notify("ann", "test://a")
		}
		begin := <-stream.events
		for begin.name == "comment" {
			begin = <-stream.events
		}
		if version < "2025-11-25" {
			wantEvent(t, begin, updated("test://a"))
			continue
		}
		if begin.name != "prime" || begin.id != "_0" || begin.data != "" {
			t.Fatalf("%s: the stream begins with %+v", version, begin)
		}
		w.notify("ann", "test://a")
		stream.next()
		stream.close()
		w.quiet(c.session)
		wantEvent(t, c.get(begin.id).next(), updated("test://a"))
	}
}

// A client that comes back after a crash for the answer to a call that took its time is told
// that there is none, instead of waiting for ever.
func TestCallLostInCrash(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-11-25")
	call := w.listen(w.request("POST", "/mcp", "ann", c.session, c.version, `{"jsonrpc":"2.0","id":"ü 7","method":"tools/call","params":{"name":"wait","arguments":{}}}`))
	begin := <-call.events
	<-w.started
	calmcp.NoteCalls(w.h, c.session)
	w.crash()
	for range 2 {
		again := c.get(begin.id)
		if e := again.next(); !strings.Contains(e.data, `"id":"ü 7"`) || !strings.Contains(e.data, "started again") {
			t.Errorf("event %+v", e)
		}
		again.ends()
	}
	close(w.release)
	if got := c.tool("who"); got != "ann in "+c.session {
		t.Errorf("who = %q", got)
	}
}

// The client leaves, then the server ends in order: the answer is there when both are back.
func TestAnswerDuringDrain(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-11-25")
	call := w.listen(w.request("POST", "/mcp", "ann", c.session, c.version, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"wait","arguments":{}}}`))
	begin := <-call.events
	<-w.started
	call.close()
	draining := w.rt.Draining()
	go func() {
		<-draining
		close(w.release)
	}()
	old := w.h
	w.rt.Reopen()
	w.link()
	old.Close()
	if err := <-w.ended; err != nil {
		t.Errorf("the call was told to end: %v", err)
	}
	if e := c.get(begin.id).next(); !strings.Contains(e.data, "waited") {
		t.Errorf("event %+v", e)
	}
}

func TestBatch(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-03-26")
	r := c.send(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"who","arguments":{}}}]`)
	if m := r.messages(); r.status != 200 || len(m) != 2 {
		t.Errorf("batch: %d %s", r.status, r.body)
	}
	if r := w.connect("ann", "2025-06-18").send(`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`); r.status != 400 {
		t.Errorf("batch in 2025-06-18: %d", r.status)
	}
	w.quiet(c.session)
}

// Two calls under one id: the second is refused, the first is not disturbed.
func TestSameIDTwice(t *testing.T) {
	w := newWorld(t, sleepy)
	c := w.connect("ann", "2025-11-25")
	body := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"wait","arguments":{}}}`
	call := w.listen(w.request("POST", "/mcp", "ann", c.session, c.version, body))
	<-w.started
	if r := c.send(body); r.status != 400 || !strings.Contains(r.body, "duplicate") {
		t.Errorf("second: %d %s", r.status, r.body)
	}
	close(w.release)
	if e := call.next(); !strings.Contains(e.data, "waited") {
		t.Errorf("first: %+v", e)
	}
	call.ends()
	w.evict(c.session) // nothing is waited for
}

// Streams that have ended leave no goroutine.
func TestStreamsLeaveNoGoroutine(t *testing.T) {
	w := newWorld(t, sleepy)
	c := w.connect("ann", "2025-11-25")
	round := func() {
		for _, r := range []*http.Request{
			w.request("GET", "/sse", "ann", "", "", ""),
			w.modern("ann", "subscriptions/listen", `"notifications":{"resourceSubscriptions":["test://a"]}`),
			c.getRequest(""),
		} {
			l := w.listen(r)
			<-l.events
			l.close()
		}
		w.evict(c.session)
	}
	round()
	http.DefaultClient.CloseIdleConnections()
	before := settledGoroutines(0, 50)
	for range 50 {
		round()
	}
	http.DefaultClient.CloseIdleConnections()
	if after := settledGoroutines(before+5, 1000); after > before+5 {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after 50 rounds\n%.8000s", before, after, buf[:runtime.Stack(buf, true)])
	}
}

// An orderly end writes down what waits to be, however long it might have waited.
func TestShutdownSavesAnswers(t *testing.T) {
	w := newWorld(t, func(o *calmcp.HandlerOptions, _ *durable.Options) { o.SaveDelay = time.Hour })
	c := w.connect("ann", "2025-11-25")
	r := c.call("tools/call", `{"name":"who","arguments":{}}`)
	_, id, _ := strings.Cut(r.body, "id: ")
	id, _, _ = strings.Cut(id, "\n")
	old := w.h
	w.rt.Reopen()
	w.link()
	old.Close()
	if e := c.get(id).next(); !strings.Contains(e.data, "ann in") {
		t.Errorf("event %+v", e)
	}
}

// A request is counted once, so that what one may ask for is bounded.
func TestBatchIsBounded(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-03-26")
	batch := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, i)
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	if got := c.send(batch(100)); got.status != 200 {
		t.Errorf("a batch of 100 = %d %s", got.status, got.body)
	}
	if got := c.send(batch(101)); got.status != 400 || !strings.Contains(got.body, "at most 100 messages") {
		t.Errorf("a batch of 101 = %d %s, want 400 and the limit", got.status, got.body)
	}
}

// An answer has the id of its call, or the call is refused.
func TestIDsComeBack(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect("ann", "2025-11-25")
	for _, id := range []string{`"a"`, `""`, "0", "-1", "9007199254740992"} {
		if got := c.send(`{"jsonrpc":"2.0","id":` + id + `,"method":"ping"}`); got.status != 200 || !strings.Contains(got.body, `"id":`+id+`,`) {
			t.Errorf("ping with id %s = %d %s", id, got.status, got.body)
		}
	}
	for _, id := range []string{"1.5", "9007199254740994", "1e20", "-1e20"} {
		if got := c.send(`{"jsonrpc":"2.0","id":` + id + `,"method":"ping"}`); got.status != 400 || !strings.Contains(got.body, "whole number") {
			t.Errorf("ping with id %s = %d %s, want 400", id, got.status, got.body)
		}
	}
}

// What is no JSON is told so, not that a header is missing.
func TestNoJSON(t *testing.T) {
	w := newWorld(t, nil)
	for _, body := range []string{"", "{", "hello"} {
		if got := w.do(w.request("POST", "/mcp", "ann", "", "", body)); got.status != 400 || !strings.Contains(got.body, "-32700") {
			t.Errorf("POST %q = %d %s, want 400 and a parse error", body, got.status, got.body)
		}
	}
	if got := w.do(w.request("POST", "/mcp", "ann", "", "", `{"jsonrpc":"2.0","id":1,"method":"ping"}`)); got.status != 400 || !strings.Contains(got.body, "Mcp-Session-Id") {
		t.Errorf("ping without a session = %d %s", got.status, got.body)
	}
}
