package calmcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

// world is a handler on a runtime that can crash, behind an HTTP server. Who is asking
// says the header X-User, "ann" if it is missing.
type world struct {
	t     *testing.T
	rt    *durabletest.Runtime
	opts  calmcp.HandlerOptions
	h     *calmcp.Handler
	front atomic.Pointer[calmcp.Handler]
	dead  sync.WaitGroup
	url   string
	lab
}

// lab is what tools and tests share.
type lab struct {
	started chan string   // tool "wait" has begun, for the user
	release chan struct{} // lets it go on
	ended   chan error    // what its context said when it went on
	servers atomic.Int64
}

func newWorld(t *testing.T, change func(*calmcp.HandlerOptions, *durable.Options)) *world {
	t.Helper()
	w := &world{t: t}
	w.started, w.release, w.ended = make(chan string, 100), make(chan struct{}), make(chan error, 100)
	link := new(calmcp.Link)
	w.opts = calmcp.HandlerOptions{Link: link, Server: w.server, KeepAlive: -1, SaveDelay: time.Millisecond}
	opts := &durable.Options{}
	if change != nil {
		change(&w.opts, opts)
	}
	opts.Classes = calmcp.Classes(link)
	w.rt = durabletest.New(t, opts)
	w.link()
	srv := httptest.NewServer(http.HandlerFunc(w.serve))
	w.url = srv.URL
	t.Cleanup(func() {
		w.h.Close()
		w.dead.Wait()
		srv.CloseClientConnections()
		srv.Close()
	})
	return w
}

func (w *world) link() {
	w.h = calmcp.NewHandler(w.rt.Runtime, &w.opts)
	w.front.Store(w.h)
}

// crash is kill -9 and a new start.
func (w *world) crash() {
	w.t.Helper()
	old := w.h
	w.rt.Crash()
	w.link()
	w.dead.Go(func() { old.Close() }) // tools of a dead process may still wait for the test
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	user := r.Header.Get("X-User")
	if user == "" {
		user = "ann"
	}
	if user != "nobody" {
		r = r.WithContext(calmcp.WithUser(r.Context(), user))
	}
	h := w.front.Load()
	switch r.URL.Path {
	case "/mcp":
		h.MCP().ServeHTTP(rw, r)
	case "/sse":
		h.SSE().ServeHTTP(rw, r)
	case "/messages":
		h.Messages().ServeHTTP(rw, r)
	default:
		http.NotFound(rw, r)
	}
}

type noInput struct{}

// server has tools that tell what a session knows.
func (w *world) server(c calmcp.Caller, opts *mcp.ServerOptions) *mcp.Server {
	w.servers.Add(1)
	s := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, opts)
	text := func(format string, args ...any) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, args...)}}}
	}
	tool := func(name string, call func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error)) {
		mcp.AddTool(s, &mcp.Tool{Name: name}, func(ctx context.Context, r *mcp.CallToolRequest, _ noInput) (*mcp.CallToolResult, any, error) {
			res, err := call(ctx, r)
			return res, nil, err
		})
	}
	tool("who", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return text("%s in %s", c.User, c.Session), nil
	})
	tool("panic", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { panic("of the tool") })
	tool("wait", func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		w.started <- c.User
		select {
		case <-w.release:
		case <-ctx.Done():
		}
		w.ended <- ctx.Err()
		return text("waited"), ctx.Err()
	})
	tool("touch", func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		w.front.Load().Notify(ctx, c.User, []string{"test://a"}, false)
		return text("touched"), nil
	})
	tool("wait and touch", func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		w.started <- c.User
		<-w.release
		w.front.Load().Notify(ctx, c.User, []string{"test://a"}, false)
		w.ended <- ctx.Err()
		return text("touched"), nil
	})
	tool("ask", func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		res, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: "sure?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{}}})
		if err != nil {
			return nil, err
		}
		return text("%s", res.Action), nil
	})
	read := func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, Text: c.User}}}, nil
	}
	s.AddResource(&mcp.Resource{URI: "test://a", Name: "a"}, read)
	s.AddResource(&mcp.Resource{URI: "test://b", Name: "b"}, read)
	return s
}

// reply is an answer that was read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// messages are the JSON-RPC messages in the answer.
func (r reply) messages() (all []map[string]any) {
	add := func(data string) {
		var m map[string]any
		if json.Unmarshal([]byte(data), &m) == nil {
			all = append(all, m)
		}
	}
	if !strings.HasPrefix(r.header.Get("Content-Type"), "text/event-stream") {
		add(r.body)
		return all
	}
	for line := range strings.Lines(r.body) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			add(data)
		}
	}
	return all
}

// peer is one client of the older eras.
type peer struct {
	w       *world
	user    string
	session string
	version string
	id      int
}

func (w *world) request(method, path, user, session, version, body string, extra ...string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-User", user)
	r.Header.Set("Accept", "application/json, text/event-stream")
	if method == "POST" {
		r.Header.Set("Content-Type", "application/json")
	}
	if session != "" {
		r.Header.Set("Mcp-Session-Id", session)
	}
	if version != "" {
		r.Header.Set("Mcp-Protocol-Version", version)
	}
	for i := 0; i < len(extra); i += 2 {
		r.Header.Set(extra[i], extra[i+1])
	}
	return r
}

func (w *world) do(r *http.Request) reply {
	w.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v after %q", r.Method, r.URL.Path, err, body)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

const initializeBody = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,"capabilities":{"elicitation":{}},"clientInfo":{"name":"c","version":"1"}}}`

// connect begins a session.
func (w *world) connect(user, version string) *peer {
	w.t.Helper()
	r := w.do(w.request("POST", "/mcp", user, "", "", fmt.Sprintf(initializeBody, version)))
	c := &peer{w: w, user: user, session: r.header.Get("Mcp-Session-Id"), version: version}
	if r.status != 200 || c.session == "" {
		w.t.Fatalf("initialize: %d %s %v", r.status, r.body, r.header)
	}
	if got := c.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`); got.status != 202 {
		w.t.Fatalf("initialized: %d %s", got.status, got.body)
	}
	return c
}

func (c *peer) send(body string, extra ...string) reply {
	c.w.t.Helper()
	return c.w.do(c.w.request("POST", "/mcp", c.user, c.session, c.version, body, extra...))
}

func (c *peer) call(method, params string) reply {
	c.w.t.Helper()
	c.id++
	return c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, c.id, method, params))
}

// tool calls a tool and returns the text of its result.
func (c *peer) tool(name string) string {
	c.w.t.Helper()
	r := c.call("tools/call", fmt.Sprintf(`{"name":%q,"arguments":{}}`, name))
	return resultText(c.w.t, r)
}

func resultText(t *testing.T, r reply) string {
	t.Helper()
	if r.status != 200 {
		t.Fatalf("tools/call: %d %s", r.status, r.body)
	}
	for _, m := range r.messages() {
		if e := m["error"]; e != nil {
			return fmt.Sprint("error ", e.(map[string]any)["message"])
		}
		if res, ok := m["result"].(map[string]any); ok {
			content := res["content"].([]any)
			return content[0].(map[string]any)["text"].(string)
		}
	}
	t.Fatalf("no result in %s", r.body)
	return ""
}

func (c *peer) subscribe(uri string) {
	c.w.t.Helper()
	r := c.call("resources/subscribe", fmt.Sprintf(`{"uri":%q}`, uri))
	if m := r.messages(); r.status != 200 || len(m) != 1 || m[0]["result"] == nil {
		c.w.t.Fatalf("subscribe: %d %s", r.status, r.body)
	}
}

// listener reads a stream of events.
type listener struct {
	t      *testing.T
	resp   *http.Response
	cancel context.CancelFunc
	events chan event
	done   chan struct{}
}

type event struct{ id, name, data string }

// listen opens a stream. What does not answer 200 fails the test.
func (w *world) listen(r *http.Request) *listener {
	w.t.Helper()
	l, status, body := w.tryListen(r)
	if l == nil {
		w.t.Fatalf("%s %s: %d %s", r.Method, r.URL.Path, status, body)
	}
	return l
}

func (w *world) tryListen(r *http.Request) (l *listener, status int, body string) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	resp, err := http.DefaultClient.Do(r.WithContext(ctx))
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		cancel()
		return nil, resp.StatusCode, string(body)
	}
	l = &listener{t: w.t, resp: resp, cancel: cancel, events: make(chan event, 1000), done: make(chan struct{})}
	go l.read()
	w.t.Cleanup(l.close)
	return l, 200, ""
}

func (l *listener) read() {
	defer close(l.done)
	defer close(l.events)
	var e event
	for in := bufio.NewScanner(l.resp.Body); in.Scan(); {
		field, value, _ := strings.Cut(in.Text(), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if value != "" {
				e.name = "comment"
				e.data = value
			}
			if e != (event{}) {
				l.events <- e
			}
			e = event{}
		}
	}
}

func (l *listener) close() {
	l.cancel()
	<-l.done
	l.resp.Body.Close()
}

// next returns the next event that is a message.
func (l *listener) next() event {
	l.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		select {
		case e, ok := <-l.events:
			if !ok {
				l.t.Fatal("the stream has ended")
			}
			if e.name != "comment" && e.data != "" {
				return e
			}
		case <-limit.C:
			l.t.Fatal("no event for a minute")
		}
	}
}

// ends waits for the end of the stream, and returns what came before.
func (l *listener) ends() (rest []event) {
	l.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		select {
		case e, ok := <-l.events:
			if !ok {
				return rest
			}
			if e.name != "comment" && e.data != "" {
				rest = append(rest, e)
			}
		case <-limit.C:
			l.t.Fatal("the stream goes on")
		}
	}
}

// get opens the standalone stream, after an event if that is given.
func (c *peer) get(lastEvent string) *listener {
	c.w.t.Helper()
	return c.w.listen(c.getRequest(lastEvent))
}

func (c *peer) getRequest(lastEvent string) *http.Request {
	r := c.w.request("GET", "/mcp", c.user, c.session, c.version, "")
	if lastEvent != "" {
		r.Header.Set("Last-Event-Id", lastEvent)
	}
	return r
}

func (w *world) notify(user string, uris ...string) { w.h.Notify(w.t.Context(), user, uris, false) }

func updated(uri string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q}}`, uri)
}

func wantEvent(t *testing.T, e event, want string) {
	t.Helper()
	var a, b any
	if json.Unmarshal([]byte(e.data), &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		t.Fatalf("event %+v, want %s", e, want)
	}
	if x, y := canonical(a), canonical(b); x != y {
		t.Errorf("event %s, want %s", x, y)
	}
}

func canonical(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}

// quiet returns when no request of the session is under way, and nothing of it is unsaved.
func (w *world) quiet(session string) {
	w.t.Helper()
	if !calmcp.Quiet(w.t.Context(), w.rt.Namespace(calmcp.SessionClass).Named(session)) {
		w.t.Fatal("requests of the session go on")
	}
}

// sleepy is for worlds whose objects go to sleep at once.
func sleepy(_ *calmcp.HandlerOptions, o *durable.Options) { o.IdleTimeout = time.Millisecond }

// evict waits until a session of a sleepy world has gone to sleep.
func (w *world) evict(session string) {
	w.t.Helper()
	stub := w.rt.Namespace(calmcp.SessionClass).Named(session)
	w.quiet(session)
	for range 10000 {
		if !w.rt.Resident(stub) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatal("the session stays in memory")
}

func contextOf(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithCancel(r.Context())
}

var revisions = []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}

func TestSessionOutlivesCrash(t *testing.T) {
	for _, version := range revisions {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t, nil)
			c := w.connect("ann", version)
			if got := c.tool("who"); got != "ann in "+c.session {
				t.Errorf("who = %q", got)
			}
			c.subscribe("test://a")
			stream := c.get("")
			w.notify("ann", "test://a", "test://b")
			first := stream.next()
			wantEvent(t, first, updated("test://a"))

			w.crash()
			stream.ends()
			if got := c.tool("who"); got != "ann in "+c.session {
				t.Errorf("who after a crash = %q", got)
			}
			w.notify("ann", "test://a") // while nobody listens
			stream = c.get(first.id)
			second := stream.next()
			wantEvent(t, second, updated("test://a"))
			w.notify("ann", "test://a")
			third := stream.next()
			wantEvent(t, third, updated("test://a"))
			if first.id != "_1" || second.id != "_2" || third.id != "_3" {
				t.Errorf("ids %s, %s, %s, want _1, _2, _3", first.id, second.id, third.id)
			}
		})
	}
}

// Changes are looked for on behalf of whoever has a stream open and has subscribed, by any
// transport, until the stream ends, or the session.
func TestCheck(t *testing.T) {
	checks := make(chan string, 1000)
	var ends sync.WaitGroup
	var running atomic.Int64
	w := newWorld(t, func(o *calmcp.HandlerOptions, _ *durable.Options) {
		o.Check = func(ctx context.Context, user string, uris []string) time.Duration {
			ends.Add(1)
			defer ends.Done()
			running.Add(1)
			defer running.Add(-1)
			checks <- fmt.Sprint(user, uris)
			<-ctx.Done() // with the last stream
			for range 10_000 {
				runtime.Gosched()
			}
			return time.Hour
		}
	})
	want := func(what, want string) {
		t.Helper()
		if got := <-checks; got != want {
			t.Errorf("%s: a check %q, want %q", what, got, want)
		}
	}
	sse := w.listen(w.request("GET", "/sse", "ann", "", "", ""))
	endpoint := sse.next().data
	for _, m := range []string{
		fmt.Sprintf(initializeBody, "2024-11-05"), `{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"test://a"}}`,
	} {
		w.do(w.request("POST", endpoint, "ann", "", "", m))
	}
	want("HTTP+SSE", "ann[test://a]")
	sse.close()
	ends.Wait()

	w.connect("idle", "2025-11-25").get("")
	c := w.connect("bob", "2025-11-25")
	c.subscribe("test://b")
	c.get("")
	want("a stream after the subscription", "bob[test://b]")
	if r := w.do(w.request("DELETE", "/mcp", "bob", c.session, "", "")); r.status != 204 {
		t.Fatal(r.status)
	}
	ends.Wait()

	l := w.listen(w.modern("cid", "subscriptions/listen", `"notifications":{"resourcesListChanged":true}`))
	want("subscriptions/listen", "cid[]")
	l.close()
	ends.Wait()

	w.listen(w.modern("dan", "subscriptions/listen", `"notifications":{"resourceSubscriptions":["test://a"]}`))
	want("another", "dan[test://a]")
	w.h.Close()
	if n := running.Load(); n != 0 || len(checks) > 0 {
		t.Errorf("after Close %d checks run, %d more have begun", n, len(checks))
	}
}
