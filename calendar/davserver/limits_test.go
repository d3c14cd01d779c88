package davserver

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

// large returns an event of exactly n bytes.
func large(n int) string {
	base := len(event("large", "DTSTART:20260310T090000Z", "DESCRIPTION:"))
	return event("large", "DTSTART:20260310T090000Z", "DESCRIPTION:"+strings.Repeat("x", n-base))
}

func TestObjectSize(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	for _, n := range []int{pieceBytes - 1, pieceBytes, pieceBytes + 1, 1 << 20, 200} { // it shrinks at last
		data := large(n)
		s.send("PUT", calendarPath+"a.ics", data)
		if got := s.must(200, "GET", calendarPath+"a.ics", "").Body.String(); got != data {
			t.Errorf("an object of %d bytes came back with %d", n, len(got))
		}
		s.checkStorage(t, "work")
	}
	w := s.must(403, "PUT", calendarPath+"a.ics", large(1<<20+1))
	if !strings.Contains(w.Body.String(), "<C:max-resource-size/>") {
		t.Errorf("PUT of more than 1 MiB: %s", w.Body)
	}
	if got := s.checkStorage(t, "work"); len(got["a.ics"]) != 200 {
		t.Errorf("the object that was there has %d bytes, want 200", len(got["a.ics"]))
	}
}

func TestChangeLogIsBounded(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	stub := s.stub("work")
	put := func(n int) {
		t.Helper()
		args := putArgs{Name: "a.ics", Data: []byte("x"), ETag: fmt.Sprint(n), UID: "a", Component: "VEVENT"}
		if _, err := durable.Call(t.Context(), stub, (*calendar).Put, args); err != nil {
			t.Fatal(err)
		}
	}
	first := s.must(207, "REPORT", calendarPath, syncBody("")).Body.String()
	token := parseAnswer(t, first).token
	for n := range keepChanges {
		put(n)
	}
	if a := parseAnswer(t, s.must(207, "REPORT", calendarPath, syncBody(token)).Body.String()); len(a.responses) != 1 {
		t.Errorf("after %d changes the first token tells %d objects, want 1", keepChanges, len(a.responses))
	}
	put(keepChanges)
	if body := s.must(403, "REPORT", calendarPath, syncBody(token)).Body.String(); !strings.Contains(body, "<D:valid-sync-token/>") {
		t.Errorf("one change later: %s", body)
	}
	entries := 0
	err := durabletest.Run(t.Context(), stub, func(ctx context.Context, st *durable.State, _ *calendar) error {
		for _, err := range st.Storage().List(ctx, durable.ListOptions{Prefix: logPrefix}) {
			if err != nil {
				return err
			}
			entries++
		}
		return nil
	})
	if err != nil || entries != keepChanges {
		t.Errorf("the log has %d entries, %v, want %d", entries, err, keepChanges)
	}
}

func syncBody(token string) string {
	return `<D:sync-collection xmlns:D="DAV:"><D:sync-token>` + token + `</D:sync-token><D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop></D:sync-collection>`
}

func TestLimits(t *testing.T) {
	s := newTestServer(t, &Options{MaxCalendars: 2, MaxHrefs: 3, MaxResults: 5, MaxBody: 300_000})
	s.mkcalendar()
	for i := range 6 {
		s.must(201, "PUT", fmt.Sprintf("%s%d.ics", calendarPath, i), event(fmt.Sprint(i), "DTSTART:20260310T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY"))
	}
	const ns = ` xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"`
	query := func(prop, filter string) string {
		return `<C:calendar-query` + ns + `><D:prop>` + prop + `</D:prop><C:filter><C:comp-filter name="VCALENDAR">` + filter + `</C:comp-filter></C:filter></C:calendar-query>`
	}
	for _, tt := range []struct {
		name, method, path, body string
		code                     int
		want                     string
	}{
		{"calendars", "MKCALENDAR", "/dav/calendars/alice/second/", "", 201, ""},
		{"one too many", "MKCALENDAR", "/dav/calendars/alice/third/", "", 507, "<D:quota-not-exceeded/>"},
		{"hrefs", "REPORT", calendarPath, `<C:calendar-multiget` + ns + `>` + strings.Repeat(hrefElement(calendarPath+"0.ics"), 4) + `</C:calendar-multiget>`, 403, "<D:number-of-matches-within-limits/>"},
		{"results", "REPORT", calendarPath, query("<D:getetag/>", ""), 403, "<D:number-of-matches-within-limits/>"},
		{"a filter on the UID leaves few", "REPORT", calendarPath, query("<D:getetag/>", `<C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match>3</C:text-match></C:prop-filter></C:comp-filter>`), 207, "3.ics"},
		{"instances", "REPORT", calendarPath, query(`<C:calendar-data><C:expand start="20260401T000000Z" end="20260501T000000Z"/></C:calendar-data>`,
			`<C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match>3</C:text-match></C:prop-filter></C:comp-filter>`), 403, "<D:number-of-matches-within-limits/>"},
		{"free-busy", "REPORT", calendarPath, `<C:free-busy-query` + ns + `><C:time-range start="20260401T000000Z" end="20260501T000000Z"/></C:free-busy-query>`, 403, "<D:number-of-matches-within-limits/>"},
		{"body", "PROPFIND", calendarPath, strings.Repeat(" ", 300_001), 413, "300000"},
		{"depth of XML", "PROPFIND", calendarPath, strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40), 400, "too deeply"},
		{"properties", "PROPPATCH", calendarPath, `<D:propertyupdate` + ns + `><D:set><D:prop><D:displayname>` + strings.Repeat("x", propertyBytes) + `</D:displayname></D:prop></D:set></D:propertyupdate>`, 507, "<D:quota-not-exceeded/>"},
		{"number of properties", "PROPPATCH", calendarPath, `<D:propertyupdate` + ns + `><D:set><D:prop>` + manyElements(maxProperties+1, "") + `</D:prop></D:set></D:propertyupdate>`, 507, "<D:quota-not-exceeded/>"},
		{"sum of properties", "PROPPATCH", calendarPath, `<D:propertyupdate` + ns + `><D:set><D:prop>` + manyElements(9, strings.Repeat("y", 30_000)) + `</D:prop></D:set></D:propertyupdate>`, 507, "<D:quota-not-exceeded/>"},
		{"a limit beyond all numbers", "REPORT", calendarPath, `<D:sync-collection` + ns + `><D:sync-token/><D:limit><D:nresults>9223372036854775807</D:nresults></D:limit></D:sync-collection>`, 207, "5.ics"},
		{"no limit", "REPORT", calendarPath, `<D:sync-collection` + ns + `><D:sync-token/><D:limit><D:nresults>0</D:nresults></D:limit></D:sync-collection>`, 400, ""},
		{"time of the calendar", "REPORT", calendarPath, query("", `<C:comp-filter name="VEVENT"/>`+`<C:time-range start="20260401T000000Z"/>`), 403, "<C:supported-filter>"},
		{"conditions", "REPORT", calendarPath, query("<D:getetag/>", `<C:comp-filter name="VEVENT">`+strings.Repeat(`<C:prop-filter name="UID"><C:text-match>3</C:text-match></C:prop-filter>`, maxConditions/2)+`</C:comp-filter>`), 403, "<C:supported-filter/>"},
		{"names asked for", "PROPFIND", calendarPath, `<D:propfind` + ns + `><D:prop>` + manyElements(maxAsked+1, "") + `</D:prop></D:propfind>`, 400, "300"},
		{"bytes of names", "PROPFIND", calendarPath, `<D:propfind` + ns + `><D:prop><x xmlns="` + strings.Repeat("u", maxAskedBytes) + `"/></D:prop></D:propfind>`, 400, "8192"},
		{"names included", "PROPFIND", calendarPath, `<D:propfind` + ns + `><D:allprop/><D:include>` + manyElements(maxAsked+1, "") + `</D:include></D:propfind>`, 400, "300"},
		{"names in a report", "REPORT", calendarPath, `<D:sync-collection` + ns + `><D:sync-token/><D:prop>` + manyElements(maxAsked+1, "") + `</D:prop></D:sync-collection>`, 400, "300"},
		{"parts of data", "REPORT", calendarPath, query(`<C:calendar-data><C:comp name="VCALENDAR">`+strings.Repeat(`<C:prop name="UID"/>`, maxAsked)+`</C:comp></C:calendar-data>`, ""), 400, "300"},
		{"name", "PUT", calendarPath + strings.Repeat("n", maxNameBytes+1), event("n", "DTSTART:20260310T090000Z"), 403, ""},
		{"control character", "PUT", calendarPath + "c.ics", event("n", "DTSTART:20260310T090000Z", "SUMMARY:\x01"), 403, "<C:valid-calendar-data/>"},
		{"no UTF-8", "PUT", calendarPath + "c.ics", event("n", "DTSTART:20260310T090000Z", "SUMMARY:\xff"), 403, "<C:valid-calendar-data/>"},
	} {
		w := s.send(tt.method, tt.path, tt.body, "Depth", "1")
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s: %s = %d %s, want %d with %q", tt.name, tt.method, w.Code, w.Body, tt.code, tt.want)
		}
	}
	s.checkStorage(t, "work")
}

func TestXMLLimits(t *testing.T) {
	for _, tt := range []struct {
		name, xml string
		want      error
	}{
		{"elements", "<a>" + strings.Repeat("<b/>", maxElements) + "</a>", errXMLTooLarge},
		{"attributes", "<a " + manyAttributes(maxAttributes+1) + "/>", errXMLTooLarge},
		{"two roots", "<a/><b/>", errXMLSyntax},
		{"text outside", "x<a/>", errXMLSyntax},
		{"nothing", "<!-- -->", errXMLSyntax},
		{"entity", "<a>&b;</a>", errXMLSyntax},
		{"doctype", `<!DOCTYPE a><a/>`, errXMLDoctype},
		{"other encoding", `<?xml version="1.0" encoding="utf-16"?><a/>`, errXMLSyntax},
	} {
		if _, err := parseXML([]byte(tt.xml)); err != tt.want {
			t.Errorf("%s: parseXML() = %v, want %v", tt.name, err, tt.want)
		}
	}
}

func manyElements(n int, text string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "<e%d>%s</e%d>", i, text, i)
	}
	return b.String()
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ` a%d=""`, i)
	}
	return b.String()
}

// TestUsers: what is not one's own is not there.
func TestUsers(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	s.must(201, "PUT", calendarPath+"a.ics", event("a", "DTSTART:20260310T090000Z"))
	s.user = User{ID: "u2", Name: "bob"}
	for _, path := range []string{calendarPath, calendarPath + "a.ics", "/dav/calendars/u1/work/a.ics", "/dav/principals/alice/", "/dav/calendars/alice/"} {
		for _, method := range []string{"PROPFIND", "GET", "DELETE", "REPORT", "OPTIONS"} {
			if w := s.send(method, path, ""); w.Code != 404 {
				t.Errorf("%s %s as somebody else = %d, want 404", method, path, w.Code)
			}
		}
		if w := s.send("PUT", path, event("a", "DTSTART:20260310T090000Z")); w.Code != 403 {
			t.Errorf("PUT %s as somebody else = %d, want 403", path, w.Code)
		}
	}
	// His own calendar of the same name is another one.
	s.must(201, "MKCALENDAR", "/dav/calendars/bob/work/", "")
	s.must(404, "GET", "/dav/calendars/bob/work/a.ics", "")

	s.user = User{ID: "u3", Name: "a/b"}
	if body := s.must(207, "PROPFIND", "/dav/", `<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>`, "Depth", "0").Body.String(); !strings.Contains(body, "/dav/principals/u3/") {
		t.Errorf("the principal of a user whose name is no segment: %s", body)
	}

	s.user = User{ID: "u4", Name: "carol", Addresses: []string{"carol@example.org", "a&b@example.org"}}
	for depth, path := range map[string]string{"0": "/dav/principals/carol/", "1": "/dav/principals/"} {
		body := s.must(207, "PROPFIND", path, `<propfind xmlns="DAV:"><prop><C:calendar-user-address-set xmlns:C="urn:ietf:params:xml:ns:caldav"/></prop></propfind>`, "Depth", depth).Body.String()
		want := `<D:href>mailto:carol@example.org</D:href><D:href>mailto:a&amp;b@example.org</D:href><D:href>/dav/principals/carol/</D:href>`
		if !strings.Contains(body, want) {
			t.Errorf("addresses of a user: %s, want %s", body, want)
		}
	}

	w := httptest.NewRecorder()
	s.Server.ServeHTTP(w, httptest.NewRequest("PROPFIND", "/dav/", nil))
	if w.Code != 403 {
		t.Errorf("PROPFIND without a user = %d, want 403", w.Code)
	}
}

func TestNames(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	for i, name := range []string{"a b", "ä", "100%", "a&b<c>", "日本", "a;b,c", "plus+", "question?", "hash#", `quote"'`, "@", "..ics", "no-extension"} {
		path := calendarPath + url.PathEscape(name)
		data := event(fmt.Sprint(i), "DTSTART:20260310T090000Z")
		s.must(201, "PUT", path, data)
		if got := s.must(200, "GET", path, "").Body.String(); got != data {
			t.Errorf("GET %q = %q", path, got)
		}
		body := `<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/></D:prop>` + hrefElement(path) + `</C:calendar-multiget>`
		a := parseAnswer(t, s.must(207, "REPORT", calendarPath, body).Body.String())
		if len(a.responses) != 1 || a.responses[0].href != path || a.responses[0].etag == "" {
			t.Errorf("multiget of %q = %+v", path, a.responses)
		}
	}
	s.checkStorage(t, "work")
	for _, path := range []string{"a%2Fb", "%00", "%0a", "..", "%2e%2e", "", "%ff"} {
		if w := s.send("PUT", calendarPath+path, event("bad", "DTSTART:20260310T090000Z")); w.Code < 400 {
			t.Errorf("PUT %q = %d", path, w.Code)
		}
	}
	long := strings.Repeat("u", maxUIDBytes)
	s.must(201, "PUT", calendarPath+"long.ics", event(long, "DTSTART:20260310T090000Z"))
	s.must(403, "PUT", calendarPath+"long2.ics", event(long, "DTSTART:20260310T090000Z"))
	s.must(201, "PUT", calendarPath+"long3.ics", event(long[1:], "DTSTART:20260310T090000Z"))
	s.must(403, "PUT", calendarPath+"longer.ics", event(long+"u", "DTSTART:20260310T090000Z"))
}

// TestErasedCalendar: who still holds the id of a deleted calendar can do nothing with it.
func TestErasedCalendar(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	stub := s.stub("work")
	s.must(204, "DELETE", calendarPath, "")
	args := putArgs{Name: "a.ics", Data: []byte("x"), ETag: "1", UID: "a", Component: "VEVENT"}
	if _, err := durable.Call(t.Context(), stub, (*calendar).Put, args); failureOf(err) == nil || failureOf(err).status != 404 {
		t.Errorf("Put into an erased calendar = %v, want %v", err, errNoCalendar)
	}
	if _, err := durable.Call(t.Context(), stub, (*calendar).List, listArgs{}); err == nil {
		t.Error("List of an erased calendar succeeds")
	}
	if objects := s.rt.Objects(CalendarClass); len(objects) != 0 {
		t.Errorf("%d calendars have data, want none", len(objects))
	}
}

// TestAskedOnce: a property that is asked for twice is answered once.
func TestAskedOnce(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	body := `<D:propfind xmlns:D="DAV:"><D:prop>` + strings.Repeat("<D:owner/>", 3) + `</D:prop></D:propfind>`
	got := s.must(207, "PROPFIND", calendarPath, body, "Depth", "0").Body.String()
	if n := strings.Count(got, "<D:owner>"); n != 1 {
		t.Errorf("the answer has the property %d times, want once:\n%s", n, got)
	}
}

// TestLeaverStopsTheWork: no further object is worked on for somebody who has left.
func TestLeaverStopsTheWork(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	for _, name := range []string{"a", "b", "c"} {
		s.must(201, "PUT", calendarPath+name, event(name, "DTSTART:20260310T090000Z"))
	}
	for what, each := range map[string]func(ctx context.Context, fn func()) error{
		"readEach": func(ctx context.Context, fn func()) error {
			return readEach(ctx, s.stub("work"), []string{"a", "b", "c"}, true, func(string, *object) error { fn(); return nil })
		},
		"eachObject": func(ctx context.Context, fn func()) error {
			return s.eachObject(ctx, s.stub("work"), func(*object) error { fn(); return nil })
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err := each(ctx, func() { n++; cancel() })
		if n != 1 || !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v after %d objects, want %v after 1", what, err, n, context.Canceled)
		}
		cancel()
	}
}

// TestDeleteAndMakeRace: a calendar that takes the name of one that is being deleted is
// not taken for it, so that in the end no data is left without a name.
func TestDeleteAndMakeRace(t *testing.T) {
	s := newTestServer(t, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 150 {
				s.send("MKCALENDAR", calendarPath, "")
				s.send("DELETE", calendarPath, "")
			}
		})
	}
	wg.Wait()
	s.send("DELETE", calendarPath, "")
	if objects := s.rt.Objects(CalendarClass); len(objects) != 0 {
		t.Errorf("%d calendars have data and no name", len(objects))
	}
}

func TestQuota(t *testing.T) {
	rt := durabletest.New(t, &durable.Options{Classes: Classes(), Limits: durable.Limits{NamespaceBytes: 300_000}})
	s := &testServer{Server: New(rt.Runtime, nil), t: t, rt: rt, user: User{ID: "u1", Name: "alice"}}
	s.mkcalendar()
	s.must(201, "PUT", calendarPath+"a.ics", large(150_000))
	w := s.must(507, "PUT", calendarPath+"b.ics", strings.Replace(large(200_000), "UID:large", "UID:other", 1))
	if !strings.Contains(w.Body.String(), "<D:quota-not-exceeded/>") {
		t.Errorf("PUT over the quota: %s", w.Body)
	}
	if got := s.checkStorage(t, "work"); len(got) != 1 {
		t.Errorf("%d objects, want 1", len(got))
	}
}

func TestSeed(t *testing.T) { synctest.Test(t, testSeed) }

func testSeed(t *testing.T) {
	s := newTestServer(t, nil)
	hold := s.rt.Store().Hold()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.Seed(t.Context(), s.user); err != nil {
				t.Errorf("Seed() = %v", err)
			}
		})
	}
	synctest.Wait() // all of them have seen a user without a home
	hold.Release()
	wg.Wait()
	if n := len(s.rt.Objects(CalendarClass)); n != 2 {
		t.Errorf("after Seed %d calendars have data, want 2", n)
	}
	if n := len(s.checkStorage(t, "personal")) + len(s.checkStorage(t, "work")); n != 5 {
		t.Errorf("after Seed there are %d events, want 5", n)
	}
	today := time.Now()
	start, end := today.AddDate(0, 0, -1).UTC().Format("20060102T150405Z"), today.AddDate(0, 0, 10).UTC().Format("20060102T150405Z")
	if got := s.query(`<C:comp-filter name="VEVENT"><C:time-range start="` + start + `" end="` + end + `"/></C:comp-filter>`); len(got) != 2 {
		t.Errorf("of work's two events %v are in the coming days", got)
	}
	s.must(204, "DELETE", calendarPath, "")
	s.must(204, "DELETE", "/dav/calendars/alice/personal/", "")
	if err := s.Seed(t.Context(), s.user); err != nil || len(s.rt.Objects(CalendarClass)) != 0 {
		t.Errorf("Seed for a user who deleted his calendars = %v, made %d", err, len(s.rt.Objects(CalendarClass)))
	}
	s.user = User{ID: "u2"}
	s.must(201, "MKCALENDAR", "/dav/calendars/u2/mine/", "")
	if err := s.Seed(t.Context(), s.user); err != nil || len(s.rt.Objects(CalendarClass)) != 1 {
		t.Errorf("Seed for a user with a calendar = %v, there are now %d", err, len(s.rt.Objects(CalendarClass)))
	}
}

// TestSampleRule: whatever the day, the first instance is one of the rule's.
func TestSampleRule(t *testing.T) {
	for i := range 7 {
		now := time.Date(2026, 3, 1+i, 12, 0, 0, 0, time.UTC)
		c := samples[1].events[0].calendar(now)
		start, err := c.Components("VEVENT")[0].Time("DTSTART")
		if err != nil || start.Wall.Weekday() == time.Saturday || start.Wall.Weekday() == time.Sunday {
			t.Errorf("seeded on a %v, the stand-up begins on a %v (%v)", now.Weekday(), start.Wall.Weekday(), err)
		}
	}
}

func TestOnChange(t *testing.T) {
	var got []Change
	s := newTestServer(t, &Options{OnChange: func(c Change) { got = append(got, c) }})
	s.mkcalendar()
	s.must(201, "PUT", calendarPath+"a.ics", event("a", "DTSTART:20260310T090000Z"))
	s.must(412, "PUT", calendarPath+"a.ics", event("a", "DTSTART:20260311T090000Z"), "If-None-Match", "*")
	s.must(204, "PUT", calendarPath+"a.ics", event("a", "DTSTART:20260310T090000Z"))
	s.must(204, "DELETE", calendarPath+"a.ics", "")
	s.must(404, "DELETE", calendarPath+"a.ics", "")
	s.must(204, "DELETE", calendarPath, "")
	want := []Change{{"u1", "work", ""}, {"u1", "work", "a.ics"}, {"u1", "work", "a.ics"}, {"u1", "work", ""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestParseTags(t *testing.T) {
	for _, tt := range []struct {
		header string
		want   tagList
	}{
		{`"a"`, tagList{Tags: []string{"a"}}},
		{`"a", W/"b" ,"c,d"`, tagList{Tags: []string{"a", "c,d"}, Weak: []string{"b"}}},
		{`*`, tagList{Any: true}},
		{`a`, tagList{}},
		{`a, "b"`, tagList{Tags: []string{"b"}}},
		{`"open`, tagList{}},
		{``, tagList{}},
	} {
		if diff := cmp.Diff(&tt.want, parseTags([]string{tt.header})); diff != "" {
			t.Errorf("parseTags(%q) (-want +got):\n%s", tt.header, diff)
		}
	}
	if got := parseTags(nil); got != nil {
		t.Errorf("parseTags(nil) = %v, want nil", got)
	}
}

func TestReadConditions(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	tag := s.must(201, "PUT", calendarPath+"a.ics", event("a", "DTSTART:20260310T090000Z")).Header().Get("ETag")
	for _, tt := range []struct {
		name, value string
		want        int
	}{
		{"If-None-Match", tag, 304}, {"If-None-Match", "W/" + tag, 304}, {"If-None-Match", "*", 304}, {"If-None-Match", `"other"`, 200},
		{"If-Match", tag, 200}, {"If-Match", "*", 200}, {"If-Match", `"other"`, 412}, {"If-Match", "W/" + tag, 412},
	} {
		w := s.must(tt.want, "GET", calendarPath+"a.ics", "", tt.name, tt.value)
		if tt.want == 304 && (w.Body.Len() > 0 || w.Header().Get("ETag") != tag) {
			t.Errorf("GET with %s: %s is answered with %d bytes and tag %s", tt.name, tt.value, w.Body.Len(), w.Header().Get("ETag"))
		}
	}
}
