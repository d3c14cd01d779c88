package worker

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/calmcp"
)

// watcher is a client with an open stream.
type watcher struct {
	t      *testing.T
	client *http.Client
	header http.Header
	end    context.CancelFunc
	uris   chan string // of what is said to have changed
	over   chan struct{}
}

func newWatcher(t *testing.T, b *bed, user string) *watcher {
	return &watcher{t: t, client: &http.Client{Transport: calmcp.InProcess(b.mcp, user)}, uris: make(chan string, 100), over: make(chan struct{}),
		header: http.Header{"Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"}}}
}

func (w *watcher) send(ctx context.Context, method, body string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://perdure/mcp", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header = w.header
	resp, err := w.client.Do(r)
	if err != nil || resp.StatusCode/100 != 2 {
		w.t.Fatalf("%s %s: %v %v", method, body, resp, err)
	}
	return resp
}

func (w *watcher) post(body string) {
	w.t.Helper()
	resp := w.send(w.t.Context(), "POST", body)
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		w.header.Set("Mcp-Session-Id", id)
	}
}

// open begins the stream.
func (w *watcher) open(method, body string) {
	w.t.Helper()
	var ctx context.Context
	ctx, w.end = context.WithCancel(context.Background())
	resp := w.send(ctx, method, body)
	go func() {
		defer close(w.over)
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if _, rest, ok := strings.Cut(lines.Text(), `"notifications/resources/updated"`); ok {
				_, uri, _ := strings.Cut(rest, `"uri":"`)
				uri, _, _ = strings.Cut(uri, `"`)
				w.uris <- uri
			}
		}
	}()
}

// session is a client of the older revisions.
func (b *bed) session(t *testing.T, user string, subscribe ...string) *watcher {
	t.Helper()
	w := newWatcher(t, b, user)
	w.post(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	w.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	w.open("GET", "")
	for _, uri := range subscribe {
		w.post(`{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"` + uri + `"}}`)
	}
	return w
}

// listener is a client of the newer ones.
func (b *bed) listener(t *testing.T, user, uri string) *watcher {
	t.Helper()
	w := newWatcher(t, b, user)
	w.header.Set("Mcp-Protocol-Version", "2026-07-28")
	w.header.Set("Mcp-Method", "subscriptions/listen")
	w.open("POST", `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["`+uri+`"]},
		"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}}}`)
	return w
}

// told returns what was said within the time.
func (w *watcher) told(d time.Duration) string {
	time.Sleep(d)
	synctest.Wait()
	var all []string
	for len(w.uris) > 0 {
		all = append(all, strings.TrimPrefix(<-w.uris, "calendar://"))
	}
	return strings.Join(all, " ")
}

func (w *watcher) leave() {
	w.end()
	<-w.over
	synctest.Wait()
}

// Who has subscribed hears of what was changed on a server elsewhere although nobody reads,
// within the TTL and a bit, and the server is asked once for all of the user's streams.
func TestSubscriptionsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl, bit = time.Minute, 7 * time.Second
		there := newElsewhere(t)
		opts := there.options()
		opts.TTL = ttl
		b := newBed(t, opts)
		idle := b.session(t, accounts.Me) // has subscribed to nothing
		synctest.Wait()
		there.requests()
		if said, n := idle.told(time.Hour), there.requests(); said != "" || n != 0 {
			t.Errorf("without subscriptions: told %q, %d requests in an hour", said, n)
		}
		const personal, agenda = "calendar://calendars/personal/events", "calendar://events"
		session := b.session(t, accounts.Me, personal)
		listener := b.listener(t, accounts.Me, agenda)
		listener.told(bit)
		session.told(0)
		there.requests()
		there.put(t, "x")
		if got := session.told(ttl + bit); got != "calendars/personal/events" {
			t.Errorf("a session was told %q", got)
		}
		if got := listener.told(0); got != "events" {
			t.Errorf("a stream was told %q", got)
		}
		there.requests()
		listener.told(10 * ttl)
		if n := there.requests(); n < 8 || n > 11 {
			t.Errorf("%d requests in ten times the TTL for two streams, want about ten", n)
		}
		there.mu.Lock()
		there.down = true
		there.mu.Unlock()
		listener.told(10 * ttl)
		if n := there.requests(); n > 40 {
			t.Errorf("%d requests of a server that does not answer", n)
		}
		there.mu.Lock()
		there.down = false
		there.mu.Unlock()
		there.put(t, "y")
		if got := listener.told(ttl + bit); got != "events" {
			t.Errorf("after an outage a stream was told %q", got)
		}
		session.told(0)

		listener.leave()
		there.put(t, "z")
		if got := session.told(ttl + bit); got != "calendars/personal/events" {
			t.Errorf("the session that is left was told %q", got)
		}
		session.post(`{"jsonrpc":"2.0","id":3,"method":"resources/unsubscribe","params":{"uri":"` + personal + `"}}`)
		there.requests()
		if session.told(time.Hour); there.requests() != 0 {
			t.Error("the server is asked after the last subscription has ended")
		}
		session.post(`{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"` + personal + `"}}`)
		if session.told(ttl); there.requests() == 0 {
			t.Error("the server is not asked after a new subscription")
		}
		session.leave()
		there.requests()
		if session.told(time.Hour); there.requests() != 0 {
			t.Error("the server is asked after the last stream has ended")
		}
		again := b.session(t, accounts.Me, personal)
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		there.requests()
		if again.told(time.Hour); there.requests() != 0 {
			t.Error("the server is asked after the end")
		}
		idle.end()
	})
}

// A user's removal ends the checks for him.
func TestRemovalEndsChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := newElsewhere(t)
		opts := there.options()
		opts.Nextcloud, opts.TTL = accounts.Credential{}, time.Minute
		b := newBed(t, opts)
		ann, _ := b.add("ann")
		if code, body := b.control("PUT", "/users/ann/credential", `{"server":"https://nc.example/dav/","username":"me","password":"p"}`); code != 200 {
			t.Fatal(code, body)
		}
		w := b.session(t, ann.ID, "calendar://events")
		w.told(3 * time.Minute)
		if there.requests() == 0 {
			t.Fatal("the server is not asked")
		}
		if code, body := b.control("DELETE", "/users/ann", ""); code != 200 {
			t.Fatal(code, body)
		}
		there.requests()
		if w.told(time.Hour); there.requests() != 0 {
			t.Error("the server is asked for a user who was removed")
		}
		w.end()
	})
}
