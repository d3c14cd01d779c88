package calmcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/calendar/davserver"
	"github.com/perdure/perdure/calendar/sessions"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

// bed is a surface over a real service over a real calendar server, all in this process.
type bed struct {
	t        testing.TB
	rt       *durabletest.Runtime
	dav      *davserver.Server
	settings calendar.MemorySettings
	svc      *calendar.Service
	surface  *calmcp.Surface
	log      lockedBuffer

	mu        sync.Mutex // guards the fields below
	changes   []calendar.Change
	schedules bool   // the server says that it writes to participants
	down      bool   // it gives no answer
	hold      func() // called in each request, if set
}

func newBed(t testing.TB) *bed {
	b := &bed{t: t}
	classes := append([]durable.Class{sessions.Class(), calcache.Class()}, davserver.Classes()...)
	b.rt = durabletest.New(t, &durable.Options{Classes: classes})
	b.open()
	return b
}

// open makes everything that is in memory anew.
func (b *bed) open() {
	b.dav = davserver.New(b.rt.Runtime, nil)
	b.svc = calendar.New(b.account, b.rt.Namespace(calcache.ClassName), &b.settings, &calendar.Options{OnChange: func(c calendar.Change) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changes = append(b.changes, c)
	}})
	b.t.Cleanup(func() { b.svc.Close() })
	b.surface = calmcp.NewSurface(&calmcp.SurfaceOptions{
		Calendars: b.svc, Sessions: b.rt.Namespace(sessions.ClassName), Version: "test",
		Logger: slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
}

func (b *bed) account(_ context.Context, user string) (calendar.Account, error) {
	if user == "broken" {
		return calendar.Account{}, errors.New("secret of the server's own")
	}
	client, err := caldav.New("http://localhost/dav/", &caldav.Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return b.serve(user, r)
	})})
	return calendar.Account{Client: client, Source: "here", AlwaysCheck: true, Inside: true, Addresses: []string{user + "@example.org"}}, err
}

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (b *bed) serve(user string, r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	schedules, down, hold := b.schedules, b.down, b.hold
	b.mu.Unlock()
	if hold != nil {
		hold()
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	defer r.Body.Close()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if down {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	b.dav.ServeHTTP(w, r.WithContext(davserver.WithUser(r.Context(), davserver.User{ID: user})))
	if schedules {
		w.Header().Set("DAV", w.Header().Get("DAV")+", calendar-auto-schedule, nc-calendar-trashbin")
	}
	resp := w.Result()
	if schedules {
		resp.Header.Set("DAV", resp.Header.Get("DAV")+", calendar-auto-schedule, nc-calendar-trashbin")
	}
	resp.Request = r
	return resp, nil
}

func (b *bed) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *bed) takeChanges() []calendar.Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.changes
	b.changes = nil
	return out
}

// put stores an object as another client would.
func (b *bed) put(user, cal, name, data string) {
	b.t.Helper()
	b.dodav(user, "PUT", cal+"/"+name, "text/calendar", strings.ReplaceAll(data, "\n", "\r\n"))
}

func (b *bed) mkcalendar(user, name string) {
	b.t.Helper()
	b.dodav(user, "MKCALENDAR", name+"/", "", "")
}

// stored is an object as the server has it.
func (b *bed) stored(user, path string) string {
	b.t.Helper()
	return strings.ReplaceAll(b.dodav(user, "GET", path, "", ""), "\r\n", "\n")
}

func (b *bed) dodav(user, method, path, contentType, body string) string {
	b.t.Helper()
	r := httptest.NewRequest(method, "http://localhost/dav/calendars/"+user+"/"+path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	b.dav.ServeHTTP(w, r.WithContext(davserver.WithUser(r.Context(), davserver.User{ID: user})))
	if w.Code >= 300 {
		b.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.String()
}

func ics(lines ...string) string {
	return "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\nBEGIN:VEVENT\nDTSTAMP:20260101T000000Z\n" +
		strings.Join(lines, "\n") + "\nEND:VEVENT\nEND:VCALENDAR\n"
}

// client is an MCP client of one caller.
type client struct {
	*mcp.ClientSession
	t        testing.TB
	progress chan *mcp.ProgressNotificationParams
	wire     lockedBuffer // what both sides sent
}

func (b *bed) connect(c calmcp.Caller) *client {
	b.t.Helper()
	cl := &client{t: b.t, progress: make(chan *mcp.ProgressNotificationParams, 100)}
	in, out := mcp.NewInMemoryTransports()
	server, err := b.surface.Server(c, nil).Connect(b.t.Context(), &mcp.LoggingTransport{Transport: out, Writer: &cl.wire}, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	cl.ClientSession, err = mcp.NewClient(&mcp.Implementation{Name: "test"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { cl.progress <- r.Params },
	}).Connect(b.t.Context(), in, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { cl.Close(); server.Wait() })
	return cl
}

// call returns what a tool answers: its text, and whether that is an error.
func (cl *client) call(tool, args string) (string, bool) {
	cl.t.Helper()
	text, failed, _ := cl.callMeta(tool, args)
	return text, failed
}

func (cl *client) callMeta(tool, args string) (string, bool, mcp.Meta) {
	cl.t.Helper()
	p := &mcp.CallToolParams{Name: tool}
	if args != "" {
		p.Arguments = json.RawMessage(args)
	}
	res, err := cl.CallTool(cl.t.Context(), p)
	if err != nil {
		cl.t.Fatalf("%s %s: %v", tool, args, err)
	}
	if len(res.Content) != 1 {
		cl.t.Fatalf("%s %s: %d contents", tool, args, len(res.Content))
	}
	text := res.Content[0].(*mcp.TextContent).Text
	if res.IsError {
		if res.StructuredContent != nil {
			cl.t.Errorf("%s %s: an error has structured content", tool, args)
		}
		return text, true, res.Meta
	}
	var same any
	if err := json.Unmarshal([]byte(text), &same); err != nil {
		cl.t.Fatalf("%s %s: content[0] is no JSON: %v\n%s", tool, args, err, text)
	}
	a, _ := json.Marshal(same)
	z, _ := json.Marshal(res.StructuredContent)
	if string(a) != string(z) {
		cl.t.Errorf("%s %s: text and structured content differ:\n%s\n%s", tool, args, a, z)
	}
	return text, false, res.Meta
}

// ok calls a tool that must succeed and decodes its answer.
func (cl *client) ok(tool, args string) answered {
	cl.t.Helper()
	text, failed := cl.call(tool, args)
	if failed {
		cl.t.Fatalf("%s %s: %s", tool, args, text)
	}
	var a answered
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		cl.t.Fatal(err)
	}
	if !a.Success || !strings.HasPrefix(text, "{\n  \"success\": true") {
		cl.t.Errorf("%s %s: does not begin with success:\n%s", tool, args, text)
	}
	a.text = text
	return a
}

// fails calls a tool that must fail and returns the error.
func (cl *client) fails(tool, args string) string {
	cl.t.Helper()
	text, failed := cl.call(tool, args)
	if !failed {
		cl.t.Errorf("%s %s succeeded:\n%s", tool, args, text)
	}
	return text
}

type answered struct {
	Success    bool
	Notice     string
	Calendars  []calendar.Calendar
	Calendar   calendar.Calendar
	Events     []shownEvent
	Event      shownEvent
	Scope      string
	Notified   []string
	Cursor     string
	Truncated  bool
	TimeZone   string
	Stale      bool
	AgeSeconds int
	Warnings   []string
	SessionID  string
	text       string
}

type shownEvent struct {
	calendar.Event
	Shortened []string
}

func (a answered) titles() []string {
	out := []string{}
	for _, e := range a.Events {
		out = append(out, e.Title)
	}
	return out
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
