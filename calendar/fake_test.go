package calendar_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

const fakeHome = "/dav/calendars/alice/"

// fakeServer is a small CalDAV server in memory with a change log, so that everything
// that a Service may be told can be arranged for. It is no model of a real one.
type fakeServer struct {
	mu        sync.Mutex
	calendars map[string]*fakeCalendar // by href
	log       []string                 // requests: "METHOD path"
	down      bool
	noSync    bool // no sync-collection
	forgets   bool // a token that is not the newest begins anew, as an old one does on DAViCal
	noDead    bool // dead properties are accepted and forgotten, as by a stock Nextcloud
	schedules bool
	strict    bool                      // nothing says that it is a Nextcloud
	mangles   func(data string) string  // stores otherwise what is written, under an entity tag all the same
	addresses []string                  // the user's, as the server tells
	broken    string                    // the method that gets no answer
	lost      string                    // the method that is done, but whose answer is lost
	before    func(method, path string) // called without the lock
	after     func(method, path string)
}

type fakeCalendar struct {
	props    map[xml.Name]string
	readOnly bool
	objects  map[string]fakeObject // by href
	changes  []string              // hrefs in the order of their changes; the token is how many
}

type fakeObject struct{ data, etag string }

func newFakeServer() *fakeServer {
	f := &fakeServer{calendars: make(map[string]*fakeCalendar), addresses: []string{"mailto:alice@example.org"}}
	f.make("personal")
	return f
}

func (f *fakeServer) make(name string) *fakeCalendar {
	c := &fakeCalendar{props: map[xml.Name]string{{Space: "DAV:", Local: "displayname"}: name}, objects: make(map[string]fakeObject)}
	f.calendars[fakeHome+name+"/"] = c
	return c
}

// put stores an object as another client would.
func (f *fakeServer) put(calendar, name, data string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	href := fakeHome + calendar + "/" + name
	f.calendars[fakeHome+calendar+"/"].put(href, data)
}

func (c *fakeCalendar) put(href, data string) string {
	c.changes = append(c.changes, href)
	etag := fmt.Sprintf(`"%d"`, len(c.changes))
	c.objects[href] = fakeObject{data, etag}
	return etag
}

func (f *fakeServer) remove(calendar, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, href := f.calendars[fakeHome+calendar+"/"], fakeHome+calendar+"/"+name
	delete(c.objects, href)
	c.changes = append(c.changes, href)
}

// data is what the server has; "" for nothing.
func (f *fakeServer) data(calendar, name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calendars[fakeHome+calendar+"/"].objects[fakeHome+calendar+"/"+name].data
}

func (f *fakeServer) names(calendar string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for href := range f.calendars[fakeHome+calendar+"/"].objects {
		out = append(out, strings.TrimPrefix(href, fakeHome+calendar+"/"))
	}
	slices.Sort(out)
	return out
}

// requests returns the log since the last call, paths shortened.
func (f *fakeServer) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.log
	f.log = nil
	return out
}

func (f *fakeServer) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *fakeServer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	path := r.URL.EscapedPath()
	if f.before != nil {
		f.before(r.Method, path)
	}
	if err := context.Cause(r.Context()); err != nil {
		return nil, err
	}
	f.mu.Lock()
	name := r.Method
	if r.Method == "REPORT" {
		var root struct{ XMLName xml.Name }
		xml.Unmarshal(body, &root)
		name = root.XMLName.Local
	}
	entry := name + " " + strings.TrimPrefix(path, "/dav/calendars/")
	if r.Header.Get("Schedule-Reply") == "F" && r.Header.Get("X-NC-Scheduling") == "false" {
		entry += " quietly"
	}
	f.log = append(f.log, entry)
	if f.down || f.broken == r.Method {
		f.mu.Unlock()
		return nil, errors.New("connection refused")
	}
	status, header, text := f.serve(r, path, body)
	lost := f.lost == r.Method
	f.mu.Unlock()
	if lost {
		return nil, errors.New("connection reset")
	}
	if f.after != nil {
		f.after(r.Method, path)
	}
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Status: strconv.Itoa(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: r}, nil
}

func (f *fakeServer) serve(r *http.Request, path string, body []byte) (int, http.Header, string) {
	dir := path[:strings.LastIndexByte(path, '/')+1]
	c := f.calendars[dir]
	switch r.Method {
	case "OPTIONS":
		features := "1, calendar-access"
		if f.schedules {
			features += ", calendar-auto-schedule"
		}
		if !f.strict {
			features += ", nc-calendar-trashbin"
		}
		return 200, http.Header{"Dav": {features}}, ""
	case "PROPFIND":
		return f.propfind(path, r.Header.Get("Depth"))
	case "MKCALENDAR":
		if f.calendars[path] != nil {
			return 405, nil, ""
		}
		f.calendars[path] = &fakeCalendar{props: make(map[xml.Name]string), objects: make(map[string]fakeObject)}
		f.setProps(f.calendars[path], body)
		return 201, nil, ""
	}
	if c == nil {
		return 404, nil, ""
	}
	o, exists := c.objects[path]
	switch r.Method {
	case "PROPPATCH":
		f.setProps(c, body)
		c.changes = append(c.changes, "")
		return multistatus("<d:response><d:href>" + path + "</d:href><d:propstat><d:prop/><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>")
	case "REPORT":
		return f.report(c, dir, body)
	case "GET":
		if !exists {
			return 404, nil, ""
		}
		return 200, http.Header{"Etag": {o.etag}, "Content-Type": {"text/calendar"}}, o.data
	case "PUT", "DELETE":
		if dir == path {
			delete(f.calendars, path)
			return 204, nil, ""
		}
		if r.Header.Get("If-None-Match") == "*" && exists || r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != o.etag {
			return 412, http.Header{"Etag": {o.etag}}, ""
		}
		if r.Method == "DELETE" {
			if !exists {
				return 404, nil, ""
			}
			delete(c.objects, path)
			c.changes = append(c.changes, path)
			return 204, nil, ""
		}
		data := string(body)
		if f.mangles != nil {
			data = f.mangles(data)
		}
		return 201, http.Header{"Etag": {c.put(path, data)}}, ""
	}
	return 405, nil, ""
}

func multistatus(inner string) (int, http.Header, string) {
	return 207, http.Header{"Content-Type": {"application/xml"}},
		`<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:cs="http://calendarserver.org/ns/">` + inner + "</d:multistatus>"
}

func (f *fakeServer) propfind(path, depth string) (int, http.Header, string) {
	entry := func(href, props string) string {
		return "<d:response><d:href>" + href + "</d:href><d:propstat><d:prop>" + props + "</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
	}
	calendar := func(href string) string {
		c := f.calendars[href]
		privilege := "<d:privilege><d:all/></d:privilege>"
		if c.readOnly {
			privilege = "<d:privilege><d:read/></d:privilege>"
		}
		props := "<d:resourcetype><d:collection/><c:calendar/></d:resourcetype><d:current-user-privilege-set>" + privilege + "</d:current-user-privilege-set>" +
			fmt.Sprintf("<cs:getctag>ctag-%d</cs:getctag>", len(c.changes))
		if !f.noSync {
			props += fmt.Sprintf("<d:sync-token>token/%d</d:sync-token>", len(c.changes))
		}
		for name, value := range c.props {
			var b strings.Builder
			xml.EscapeText(&b, []byte(value))
			props += fmt.Sprintf(`<x:%s xmlns:x="%s">%s</x:%s>`, name.Local, name.Space, b.String(), name.Local)
		}
		return entry(href, props)
	}
	switch {
	case path == fakeHome && depth == "1":
		out := entry(fakeHome, "<d:resourcetype><d:collection/></d:resourcetype>")
		for _, href := range slices.Sorted(maps.Keys(f.calendars)) {
			out += calendar(href)
		}
		return multistatus(out)
	case f.calendars[path] != nil:
		return multistatus(calendar(path))
	case strings.HasPrefix(path, fakeHome) && path != fakeHome:
		return 404, nil, ""
	}
	var hrefs strings.Builder
	for _, address := range f.addresses {
		hrefs.WriteString("<d:href>" + address + "</d:href>")
	}
	return multistatus(entry(path, "<d:resourcetype><d:collection/></d:resourcetype>"+
		"<d:current-user-principal><d:href>/dav/principals/alice/</d:href></d:current-user-principal>"+
		"<c:calendar-home-set><d:href>"+fakeHome+"</d:href></c:calendar-home-set>"+
		"<c:calendar-user-address-set>"+hrefs.String()+"</c:calendar-user-address-set>"))
}

func (f *fakeServer) setProps(c *fakeCalendar, body []byte) {
	type prop struct {
		XMLName xml.Name
		Text    string `xml:",chardata"`
	}
	type section struct {
		Prop struct {
			Any []prop `xml:",any"`
		} `xml:"DAV: prop"`
	}
	var req struct {
		Set    []section `xml:"DAV: set"`
		Remove []section `xml:"DAV: remove"`
	}
	xml.Unmarshal(body, &req)
	for _, s := range req.Set {
		for _, p := range s.Prop.Any {
			if f.noDead && strings.HasPrefix(p.XMLName.Local, "calendar-") && p.XMLName.Local != "calendar-color" {
				continue
			}
			c.props[p.XMLName] = p.Text
		}
	}
	for _, s := range req.Remove {
		for _, p := range s.Prop.Any {
			delete(c.props, p.XMLName)
		}
	}
}

func (f *fakeServer) report(c *fakeCalendar, dir string, body []byte) (int, http.Header, string) {
	var req struct {
		XMLName xml.Name
		Token   string   `xml:"DAV: sync-token"`
		Hrefs   []string `xml:"DAV: href"`
	}
	xml.Unmarshal(body, &req)
	var out strings.Builder
	write := func(href string, data bool) {
		o, ok := c.objects[href]
		if !ok {
			fmt.Fprintf(&out, "<d:response><d:href>%s</d:href><d:status>HTTP/1.1 404 Not Found</d:status></d:response>", href)
			return
		}
		fmt.Fprintf(&out, "<d:response><d:href>%s</d:href><d:propstat><d:prop><d:getetag>%s</d:getetag>", href, o.etag)
		if data {
			out.WriteString("<c:calendar-data>")
			xml.EscapeText(&out, []byte(o.data))
			out.WriteString("</c:calendar-data>")
		}
		out.WriteString("</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>")
	}
	switch req.XMLName.Local {
	case "calendar-multiget":
		for _, href := range req.Hrefs {
			write(href, true)
		}
	case "calendar-query":
		for _, href := range slices.Sorted(maps.Keys(c.objects)) {
			write(href, false)
		}
	case "sync-collection":
		if f.noSync {
			return 415, nil, ""
		}
		from := 0
		if req.Token != "" {
			n, err := strconv.Atoi(strings.TrimPrefix(req.Token, "token/"))
			if err != nil || n > len(c.changes) {
				return 403, http.Header{"Content-Type": {"application/xml"}}, `<d:error xmlns:d="DAV:"><d:valid-sync-token/></d:error>`
			}
			from = n
			if f.forgets && n < len(c.changes) {
				from, req.Token = 0, ""
			}
		}
		seen := make(map[string]bool)
		for _, href := range c.changes[from:] {
			if _, exists := c.objects[href]; href != "" && !seen[href] && (exists || req.Token != "") {
				seen[href] = true
				write(href, false)
			}
		}
		fmt.Fprintf(&out, "<d:sync-token>token/%d</d:sync-token>", len(c.changes))
	}
	return multistatus(out.String())
}

// testbed is a service over a fake server.
type testbed struct {
	*calendar.User
	svc      *calendar.Service
	server   *fakeServer
	rt       *durable.Runtime
	settings *calendar.MemorySettings
	source   string
	mails    []string // of the account
	mu       sync.Mutex
	changes  []calendar.Change
}

func newTestbed(t testing.TB, opts *calendar.Options) *testbed {
	t.Helper()
	b := &testbed{server: newFakeServer(), settings: new(calendar.MemorySettings)}
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: []durable.Class{calcache.Class()}})
	if err != nil {
		t.Fatal(err)
	}
	b.rt = rt
	t.Cleanup(func() { rt.Close() })
	b.open(t, opts)
	return b
}

// open starts a service, or another one with an empty memory over the same cache.
func (b *testbed) open(t testing.TB, opts *calendar.Options) {
	t.Helper()
	b.svc = b.newService(t, b.server, opts)
	b.User = b.svc.User("alice")
}

func (b *testbed) newService(t testing.TB, server http.RoundTripper, opts *calendar.Options) *calendar.Service {
	t.Helper()
	client, err := caldav.New("https://cloud.example.org/dav/", &caldav.Options{Transport: server,
		Credential: caldav.Credential{Username: "alice", Password: "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	var o calendar.Options
	if opts != nil {
		o = *opts
	}
	o.OnChange = func(c calendar.Change) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changes = append(b.changes, c)
	}
	svc := calendar.New(func(context.Context, string) (calendar.Account, error) {
		return calendar.Account{Client: client, Source: b.source, Addresses: b.mails}, nil
	}, b.rt.Namespace(calcache.ClassName), b.settings, &o)
	t.Cleanup(func() { svc.Close() })
	return svc
}

func (b *testbed) takeChanges() []calendar.Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.changes
	b.changes = nil
	return out
}

// event is an iCalendar object with one event; lines go into the VEVENT.
func event(uid, start string, lines ...string) string {
	all := append([]string{"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//test//EN", "BEGIN:VEVENT", "UID:" + uid,
		"DTSTAMP:20260101T000000Z", "DTSTART" + start}, lines...)
	return strings.Join(append(all, "END:VEVENT", "END:VCALENDAR", ""), "\r\n")
}

// serve sends a request to an object and returns the answer's body.
func serve(h http.Handler, method, path, body string) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "http://do"+path, strings.NewReader(body)))
	return w.Body.String()
}
