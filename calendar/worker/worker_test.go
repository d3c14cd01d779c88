package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
	"github.com/perdure/perdure/store"
)

// bed is a worker on a runtime that may crash.
type bed struct {
	*durabletest.Runtime
	*Worker
	t    *testing.T
	opts Options
}

func newBed(t *testing.T, opts Options) *bed {
	opts.Key, opts.DAV, opts.Link = accounts.MemoryKey(), true, new(calmcp.Link)
	b := &bed{t: t, opts: opts}
	b.Runtime = durabletest.New(t, &durable.Options{Classes: slices.Concat(Classes(), BuiltIn(opts.Link))})
	b.Worker = New(b.Runtime.Runtime, &b.opts)
	t.Cleanup(func() { b.Worker.Close() })
	return b
}

func (b *bed) crash() {
	b.Worker.Close()
	b.Crash()
	b.Worker = New(b.Runtime.Runtime, &b.opts)
}

// control sends a request to Control and returns the answer.
func (b *bed) control(method, path, body string) (int, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://perdure"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := InProcess(b.Control()).RoundTrip(req)
	if err != nil {
		b.t.Fatal(err)
	}
	data, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data)
}

func (b *bed) add(name string) (u accounts.User, secret string) {
	b.t.Helper()
	if code, body := b.control("POST", "/users", `{"name":"`+name+`"}`); code != 200 {
		b.t.Fatalf("POST /users = %d %s", code, body)
	} else {
		_, secret, _ = strings.Cut(body, `"token":"`)
		secret, _, _ = strings.Cut(secret, `"`)
	}
	u, err := b.accounts.Find(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return u, secret
}

// dav sends a request as a user.
func (b *bed) dav(method, path, body, name, secret string) int {
	b.t.Helper()
	req := httptest.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body))
	req.SetBasicAuth(name, secret)
	rec := httptest.NewRecorder()
	b.ServeHTTP(rec, req)
	return rec.Code
}

const event = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:%[1]s\r\nDTSTAMP:20260101T000000Z\r\n" +
	"DTSTART:20260102T100000Z\r\nSUMMARY:%[1]s\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

// fill gives a user something of everything.
func (b *bed) fill(u accounts.User, secret string) {
	b.t.Helper()
	if code := b.dav("PUT", "/dav/calendars/"+u.Name+"/personal/x.ics", fmt.Sprintf(event, "x"), u.Name, secret); code != 201 {
		b.t.Fatalf("PUT = %d", code)
	}
	req := httptest.NewRequest("PUT", "http://do/calendars?userId="+u.ID, strings.NewReader("[1]"))
	rec := httptest.NewRecorder()
	b.Namespace("CalendarCache").Named(u.ID).ServeHTTP(rec, req)
	if rec.Code != 200 {
		b.t.Fatalf("PUT to the cache = %d %s", rec.Code, rec.Body)
	}
	if _, err := b.Worker.Settings().ChangeSettings(b.t.Context(), u.ID, calendar.SettingsChange{TimeZone: calendar.Opt[string]{Set: true, Value: "Asia/Tokyo"}}); err != nil {
		b.t.Fatal(err)
	}
}

// left counts the objects of each class that have data. (A cache that was cleared keeps
// its alarm.)
func (b *bed) left() map[string]int {
	n := make(map[string]int)
	for _, class := range []string{"User", "Calendar", "CalendarCache"} {
		n[class] = 0
		for _, o := range b.Objects(class) {
			if o.Size > 0 {
				n[class]++
			}
		}
	}
	return n
}

// TestURLOfOwnCalendar reads a calendar at the path that its url is.
func TestURLOfOwnCalendar(t *testing.T) {
	b := newBed(t, Options{})
	ann, secret := b.add("ann")
	req := httptest.NewRequest("GET", "http://127.0.0.1/api/calendars", nil)
	req.Header.Set("Authorization", "Bearer "+secret)
	rec := httptest.NewRecorder()
	b.ServeHTTP(rec, req)
	want := "/dav/calendars/" + ann.ID + "/personal/"
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), `"url":"`+want+`"`) {
		t.Errorf("GET /api/calendars = %d %s, want the url %s", rec.Code, rec.Body, want)
	}
	if code := b.dav("PROPFIND", want, "", "ann", secret); code != 207 {
		t.Errorf("PROPFIND %s = %d, want 207", want, code)
	}
}

// TestOwnAddresses sets a user's mail addresses, which programs are told and the rules of
// meetings go by. Who is named by one has it from the start.
func TestOwnAddresses(t *testing.T) {
	b := newBed(t, Options{})
	ann, secret := b.add("ann@example.org")
	_, bobs := b.add("bob")
	address := func(name, secret string) string {
		t.Helper()
		req := httptest.NewRequest("PROPFIND", "http://127.0.0.1/dav/principals/"+name+"/",
			strings.NewReader(`<propfind xmlns="DAV:"><prop><C:calendar-user-address-set xmlns:C="urn:ietf:params:xml:ns:caldav"/></prop></propfind>`))
		req.SetBasicAuth(name, secret)
		rec := httptest.NewRecorder()
		b.ServeHTTP(rec, req)
		_, set, found := strings.Cut(rec.Body.String(), "<C:calendar-user-address-set>")
		if set, _, _ = strings.Cut(set, "</C:"); rec.Code != 207 || !found {
			t.Fatalf("PROPFIND by %s = %d %s", name, rec.Code, rec.Body)
		}
		return strings.NewReplacer("<D:href>", " ", "</D:href>", "").Replace(set)
	}
	change := func(name, body string, want int) string {
		t.Helper()
		code, answer := b.control("PATCH", "/users/"+name+"/settings", body)
		if code != want {
			t.Errorf("PATCH %s by %s = %d %s, want %d", body, name, code, answer, want)
		}
		return answer
	}
	meeting := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:m\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260102T100000Z\r\n" +
		"SUMMARY:Talk\r\nORGANIZER:mailto:ann@example.com\r\nATTENDEE:mailto:bob@example.org\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	if code := b.dav("PUT", "/dav/calendars/"+ann.Name+"/personal/m.ics", meeting, ann.Name, secret); code != 201 {
		t.Fatalf("PUT = %d", code)
	}
	retitle := func() error {
		_, err := b.Worker.calendar.User(ann.ID).UpdateEvent(t.Context(), "personal", "m", calendar.EventChange{Title: calendar.To("Other")}, calendar.Edit{})
		return err
	}
	if got := address("ann@example.org", secret); got != " mailto:ann@example.org /dav/principals/ann@example.org/" {
		t.Errorf("addresses of ann at first: %s", got)
	}
	if err := retitle(); !errors.Is(err, calendar.ErrForbidden) {
		t.Errorf("changing a meeting of an unknown address: %v", err)
	}
	if got := change(ann.ID, `{"addresses":["ann@example.org","Ann@example.com"],"timeZone":"Europe/Vienna"}`, 200); !strings.Contains(got, `"addresses":["ann@example.org","ann@example.com"]`) {
		t.Errorf("settings of ann: %s", got)
	}
	b.crash()
	if got := address("ann@example.org", secret); got != " mailto:ann@example.org mailto:ann@example.com /dav/principals/ann@example.org/" {
		t.Errorf("addresses of ann: %s", got)
	}
	if err := retitle(); err != nil {
		t.Errorf("changing the user's own meeting: %v", err)
	}
	if got := address("bob", bobs); got != " /dav/principals/bob/" {
		t.Errorf("addresses of bob: %s", got)
	}
	for _, bad := range []string{`{"addresses":["ann"]}`, `{"timeZone":"Mars"}`, `{"addresses":7}`, `{`} {
		change("bob", bad, 400)
	}
	change("bob", `{"defaultCalendar":"nope"}`, 404)
	change("nobody", `{"timeZone":"UTC"}`, 404)
	if code, body := b.control("GET", "/users/bob/settings", ""); code != 200 || strings.TrimSpace(body) != "{}" {
		t.Errorf("settings of bob = %d %s, want none", code, body)
	}
}

// TestPurge takes the power away at each commit of a removal with everything. Access
// ends at the first one, and doing it again finishes it.
func TestPurge(t *testing.T) {
	for n := 0; ; n++ {
		b := newBed(t, Options{})
		ann, secret := b.add("ann")
		b.fill(ann, secret)
		bob, _ := b.add("bob")
		if want := map[string]int{"User": 2, "Calendar": 4, "CalendarCache": 1}; n == 0 && !cmp.Equal(want, b.left()) {
			t.Fatalf("objects = %v, want %v", b.left(), want)
		}
		after := n
		b.Store().FailCommits(func(*store.Batch) error {
			if after--; after < 0 {
				return errors.New("power cut")
			}
			return nil
		})
		code, body := b.control("DELETE", "/users/ann?purge=true", "")
		b.crash()
		if code == 200 {
			if n < 6 {
				t.Errorf("the purge made %d commits: that can't have been all", n)
			}
			break
		}
		status := b.dav("PROPFIND", "/dav/calendars/ann/", "", "ann", secret)
		if n > 0 && status != 401 {
			t.Errorf("PROPFIND after a crash at commit %d = %d, want 401", n, status)
		}
		if code, body = b.control("DELETE", "/users/ann?purge=true", ""); code != 200 {
			t.Errorf("removing again after a crash at commit %d = %d %s", n, code, body)
		}
		left := b.left()
		if left["Calendar"] == 3 {
			// A calendar leaves its home before it is erased. What breaks off in between
			// leaves one that nobody can reach.
			left["Calendar"] = 2
		}
		if diff := cmp.Diff(map[string]int{"User": 1, "Calendar": 2, "CalendarCache": 0}, left); diff != "" {
			t.Errorf("objects after a purge that broke off at commit %d (-want +got):\n%s", n, diff)
		}
		if _, err := b.accounts.Find(t.Context(), bob.Name); err != nil {
			t.Errorf("the other user is gone: %v", err)
		}
	}
}

func TestRemovalKeepsData(t *testing.T) {
	b := newBed(t, Options{})
	ann, secret := b.add("ann")
	b.fill(ann, secret)
	before := b.left()
	if code, body := b.control("DELETE", "/users/ann", ""); code != 200 {
		t.Fatalf("DELETE = %d %s", code, body)
	}
	if diff := cmp.Diff(before, b.left()); diff != "" {
		t.Errorf("objects after a removal without purge (-want +got):\n%s", diff)
	}
	if code, body := b.control("DELETE", "/users/"+ann.ID+"?purge=true", ""); code != 200 {
		t.Errorf("purge by id = %d %s", code, body)
	}
	if diff := cmp.Diff(map[string]int{"User": 0, "Calendar": 0, "CalendarCache": 0}, b.left()); diff != "" {
		t.Errorf("objects after the purge (-want +got):\n%s", diff)
	}
}

// TestRemovalEndsRequests removes a user while one of his requests runs: the removal
// waits for it, after ending its context.
func TestRemovalEndsRequests(t *testing.T) {
	b := newBed(t, Options{})
	_, secret := b.add("ann")
	running, ended := make(chan struct{}), make(chan error)
	go func() {
		req := httptest.NewRequest("GET", "http://127.0.0.1/dav/", nil)
		req.SetBasicAuth("ann", secret)
		b.asUser(httptest.NewRecorder(), req, &b.davDoor, func(_ http.ResponseWriter, r *http.Request, _ accounts.User) {
			close(running)
			<-r.Context().Done()
			ended <- context.Cause(r.Context())
		})
	}()
	<-running
	removed := make(chan int)
	go func() {
		code, _ := b.control("DELETE", "/users/ann", "")
		removed <- code
	}()
	if err := <-ended; err != errExpelled { // sent before the visit is over: had it not been waited for, removed would be ready too
		t.Errorf("the request's context ended with %v, want %v", err, errExpelled)
	}
	if code := <-removed; code != 200 {
		t.Errorf("DELETE = %d", code)
	}
	b.visits.mu.Lock()
	defer b.visits.mu.Unlock()
	if n := len(b.visits.running); n != 0 {
		t.Errorf("%d users have visits, want none", n)
	}
}

func TestExpelWaits(t *testing.T) {
	var v visits
	enter := func(id string) (context.Context, func()) {
		r, leave := v.enter(httptest.NewRequest("GET", "/", nil), id, httptest.NewRecorder())
		return r.Context(), leave
	}
	ctx, leave := enter("ann")
	other, leaveOther := enter("bob")
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.expel(short, "ann"); !errors.Is(err, context.Canceled) {
		t.Errorf("expel while the visit goes on = %v, want the context's error", err)
	}
	if context.Cause(ctx) != errExpelled || other.Err() != nil {
		t.Errorf("visits of ann: %v, of bob: %v; want only ann's ended", context.Cause(ctx), other.Err())
	}
	leave()
	leaveOther()
	if err := v.expel(t.Context(), "ann"); err != nil || len(v.running) != 0 {
		t.Errorf("expel afterwards = %v with %d users, want nothing", err, len(v.running))
	}
}

func TestControl(t *testing.T) {
	b := newBed(t, Options{})
	ann, secret := b.add("ann")
	for _, c := range []struct {
		method, path, body string
		want               int
		text               string
	}{
		{"GET", "/users", "", 200, `"name":"ann"`},
		{"GET", "/users?after=ann", "", 200, "[]"},
		{"GET", "/users/ann", "", 200, ann.ID},
		{"GET", "/users/" + ann.ID, "", 200, `"ann"`},
		{"GET", "/users/me", "", 200, `"id":"me"`},
		{"GET", "/users/nobody", "", 404, "no such user"},
		{"GET", "/removed", "", 200, "[]"},
		{"POST", "/users", `{"name":"ann"}`, 409, "taken"},
		{"POST", "/users", `{"name":"A"}`, 400, "invalid name"},
		{"POST", "/users", `{"name":`, 400, "JSON"},
		{"POST", "/users", `{"name":"` + strings.Repeat("a", 70<<10) + `"}`, 400, "JSON"},
		{"DELETE", "/users/nobody", "", 404, "no such user"},
		{"DELETE", "/users/me", "", 404, "no such user"},
		{"DELETE", "/users/ann?purge=yes", "", 400, "purge"},
		{"PUT", "/users/ann/credential", `{"server":"http://nc.example","username":"u","password":"p4ss"}`, 400, "plain http"},
		{"PUT", "/users/ann/credential", `{"server":"https://nc.example","username":"u"}`, 400, "password"},
		{"PUT", "/users/ann/credential", `{"server":"https://nc.example","password":7,"username":"p4ss"}`, 400, "JSON"},
		{"PUT", "/users/nobody/credential", `{"server":"https://nc.example","username":"u","password":"p4ss"}`, 404, "no such user"},
		{"PUT", "/users/ann/credential", `{"server":"https://nc.example","username":"u","password":"p4ss"}`, 200, ann.ID},
		{"PUT", "/users/me/credential", `{"server":"http://nc.example","username":"u","password":"p4ss","insecureHTTP":true}`, 200, "me"},
		{"PATCH", "/users/ann", "", 405, ""},
		{"GET", "/", "", 404, ""},
	} {
		code, body := b.control(c.method, c.path, c.body)
		if code != c.want || !strings.Contains(body, c.text) {
			t.Errorf("%s %s %.60s = %d %s, want %d with %q", c.method, c.path, c.body, code, body, c.want, c.text)
		}
		if strings.Contains(body, secret) || strings.Contains(body, "p4ss") {
			t.Errorf("%s %s answers with a secret: %s", c.method, c.path, body)
		}
	}
}

func TestAccount(t *testing.T) {
	mine := accounts.Credential{Server: "https://nc.example/cloud", Username: "me@nc", Password: "p"}
	b, ctx := newBed(t, Options{Nextcloud: mine}), t.Context()
	ann, secret := b.add("ann")
	source := func(id, want string) *caldav.Client {
		t.Helper()
		a, err := b.Account(ctx, id)
		if err != nil || a.Source != want {
			t.Fatalf("Account(%s) = %q, %v, want %q", id, a.Source, err, want)
		}
		if a.AlwaysCheck != (want == "here") {
			t.Errorf("Account(%s) of %q: AlwaysCheck = %v", id, want, a.AlwaysCheck)
		}
		return a.Client
	}
	if c := source(accounts.Me, "https://nc.example/cloud me@nc"); c.Base() != "/cloud" {
		t.Errorf("base of me's client = %q", c.Base())
	}

	// Here, in this process, until there is a login.
	c := source(ann.ID, "here")
	home, err := c.Discover(ctx)
	if err != nil {
		t.Fatal(err)
	}
	calendars, err := c.ListCalendars(ctx, home)
	if err != nil || len(calendars) != 2 || !strings.HasPrefix(calendars[0].Href, "/dav/calendars/"+ann.ID+"/") {
		t.Errorf("calendars = %v, %v, want two under ann's id", calendars, err)
	}
	if code, body := b.control("PUT", "/users/ann/credential", `{"server":"https://other.example","username":"ann@nc","password":"p4ss"}`); code != 200 {
		t.Fatalf("PUT = %d %s", code, body)
	}
	source(ann.ID, "https://other.example ann@nc")
	if code, _ := b.control("DELETE", "/users/ann", ""); code != 200 {
		t.Fatal("DELETE")
	}
	if _, err := b.Account(ctx, ann.ID); !errors.Is(err, accounts.ErrNoUser) || strings.Contains(err.Error(), secret) {
		t.Errorf("Account of a removed user = %v, want ErrNoUser", err)
	}
}

func TestSettings(t *testing.T) {
	b, ctx := newBed(t, Options{}), t.Context()
	s := b.Worker.Settings()
	if got, err := s.LoadSettings(ctx, accounts.Me); err != nil || !cmp.Equal(got, calendar.Settings{}) {
		t.Errorf("LoadSettings = %v, %v, want none", got, err)
	}
	change := func(c calendar.SettingsChange) calendar.Settings {
		t.Helper()
		got, err := s.ChangeSettings(ctx, accounts.Me, c)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	change(calendar.SettingsChange{TimeZone: calendar.Opt[string]{Set: true, Value: "Asia/Tokyo"}})
	got := change(calendar.SettingsChange{Calendars: map[string]*calendar.Note{"c": {Category: "home", Focus: 3}}})
	want := calendar.Settings{TimeZone: "Asia/Tokyo", Calendars: map[string]calendar.Note{"c": {Category: "home", Focus: 3}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ChangeSettings (-want +got):\n%s", diff)
	}
	b.crash()
	got, err := b.Worker.Settings().LoadSettings(ctx, accounts.Me)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("LoadSettings after a crash = %v (-want +got):\n%s", err, diff)
	}
	if _, err := s.LoadSettings(ctx, "u_nobody"); err == nil {
		t.Error("LoadSettings of nobody = nil")
	}
}

func TestSeedMe(t *testing.T) {
	homes := func(b *bed) int { return len(b.Objects("Home")) }
	b := newBed(t, Options{})
	for range 2 {
		if err := b.SeedMe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if homes(b) != 1 || len(b.Objects("Calendar")) != 2 {
		t.Errorf("%d homes, %d calendars; want 1 and 2", homes(b), len(b.Objects("Calendar")))
	}
	b = newBed(t, Options{Nextcloud: accounts.Credential{Server: "https://nc.example", Username: "u", Password: "p"}})
	if err := b.SeedMe(t.Context()); err != nil || homes(b) != 1 { // at /dav/
		t.Errorf("SeedMe with calendars elsewhere = %v, %d homes, want 1", err, homes(b))
	}
	b = newBed(t, Options{})
	b.add("ann")
	if err := b.SeedMe(t.Context()); err != nil || homes(b) != 1 {
		t.Errorf("SeedMe with another user = %v, %d homes, want ann's", err, homes(b))
	}
}

// TestBroken has no user to be found because the store is broken: nobody is let in.
func TestBroken(t *testing.T) {
	b := newBed(t, Options{})
	_, secret := b.add("ann")
	b.EvictAll()
	b.Store().FailCommits(func(*store.Batch) error { return errors.New("disk on fire") })
	b.control("POST", "/users", `{"name":"bob"}`)
	if code := b.dav("PROPFIND", "/dav/", "", "ann", secret); code != 500 {
		t.Errorf("PROPFIND with a broken store = %d, want 500", code)
	}
	req := httptest.NewRequest("GET", "http://127.0.0.1/objects/SessionStore/a/get?id=x", nil)
	rec := httptest.NewRecorder()
	b.ServeHTTP(rec, req)
	if rec.Code != 500 {
		t.Errorf("/objects/ with a broken store = %d, want 500", rec.Code)
	}
}

func TestInProcess(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Body", string(body))
		switch r.URL.Path {
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/ok":
			w.WriteHeader(http.StatusEarlyHints)
			fmt.Fprint(w, "answer")
			w.Header().Set("X-Late", "1")
			w.WriteHeader(http.StatusTeapot)
		}
	})
	c := &http.Client{Transport: InProcess(h)}
	for path, want := range map[string]string{"/ok": "200 answer", "/empty": "204 ", "/none": "200 "} {
		resp, err := c.Post("http://x"+path, "text/plain", strings.NewReader("b"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if got := fmt.Sprintf("%d %s", resp.StatusCode, body); got != want || resp.Header.Get("X-Body") != "b" || resp.Header.Get("X-Late") != "" {
			t.Errorf("POST %s = %s %v, want %s", path, got, resp.Header, want)
		}
	}
	if _, err := c.Get("http://x/abort"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("GET /abort = %v, want %v", err, io.ErrUnexpectedEOF)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://x/ok", nil)
	if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("GET after the end = %v, want context.Canceled", err)
	}
}
