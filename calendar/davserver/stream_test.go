package davserver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestLargeAnswer reads an answer that is sent in several pieces, over a real connection.
func TestLargeAnswer(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	want := make(map[string]string)
	for i := range 6 {
		name := fmt.Sprintf("%d.ics", i)
		data := strings.Replace(large(900_000), "UID:large", fmt.Sprintf("UID:l%04d", i), 1)
		s.must(201, "PUT", calendarPath+name, data)
		want[name] = data
	}
	body := `<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"/></C:filter></C:calendar-query>`
	r, err := http.NewRequest("REPORT", s.listen()+calendarPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("alice", "secret")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.ContentLength != -1 {
		t.Fatalf("answer of %d bytes (Content-Length %d): %v", len(got), resp.ContentLength, err)
	}
	a := parseAnswer(t, string(got))
	if len(a.responses) != len(want) {
		t.Errorf("%d responses, want %d", len(a.responses), len(want))
	}
	for _, res := range a.responses {
		if name := strings.TrimPrefix(res.href, calendarPath); res.data != want[name] {
			t.Errorf("%s has %d bytes, want %d", name, len(res.data), len(want[name]))
		}
	}
}

// TestBrokenAnswer: an error behind the first piece must not look like the end.
func TestBrokenAnswer(t *testing.T) {
	failing := errors.New("no more")
	handler := func(w http.ResponseWriter, r *http.Request) {
		m := newMultistatus(w, r)
		m.status(strings.Repeat("x", bufferedAnswer), 200, nil)
		if err := m.abort(r.Context(), failing); err != nil {
			t.Errorf("abort() = %v after the status was sent", err)
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(handler))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("over a connection the broken answer has an end")
	}
	w := httptest.NewRecorder()
	handler(w, httptest.NewRequest("GET", "/", nil))
	if _, err := parseXML(w.Body.Bytes()); err == nil {
		t.Error("in process the broken answer is a whole document")
	}
	m := newMultistatus(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if err := m.abort(t.Context(), failing); err != failing {
		t.Errorf("abort() before the first piece = %v, want the error", err)
	}
}

// TestManyObjects has more objects than one call into the calendar returns.
func TestManyObjects(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	const n = listPage + 150
	multiget := `<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/></D:prop>`
	for i := range n {
		s.must(201, "PUT", fmt.Sprintf("%s%d.ics", calendarPath, i), event(fmt.Sprint(i), "DTSTART:20260310T090000Z"))
		multiget += hrefElement(fmt.Sprintf("%s%d.ics", calendarPath, i))
	}
	multiget += hrefElement(calendarPath+"0.ics") + `</C:calendar-multiget>`
	query := func(filter string) string {
		return `<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR">` + filter + `</C:comp-filter></C:filter></C:calendar-query>`
	}
	data := strings.Replace(syncBody(""), "<D:getetag/>", `<D:getetag/><C:calendar-data xmlns:C="urn:ietf:params:xml:ns:caldav"/>`, 1)
	for _, tt := range []struct {
		name, method, body string
		extra              int
	}{
		{"etags", "PROPFIND", `<D:propfind xmlns:D="DAV:"><D:prop><D:getetag/></D:prop></D:propfind>`, 1},
		{"sync", "REPORT", syncBody(""), 0},
		{"sync with data", "REPORT", data, 0},
		{"multiget", "REPORT", multiget, 1},
		{"query", "REPORT", query(""), 0},
		{"query for a time", "REPORT", query(`<C:comp-filter name="VEVENT"><C:time-range start="20260310T000000Z" end="20260311T000000Z"/></C:comp-filter>`), 0},
	} {
		a := parseAnswer(t, s.must(207, tt.method, calendarPath, tt.body, "Depth", "1").Body.String())
		seen := make(map[string]bool)
		for _, r := range a.responses {
			if r.status != "" {
				t.Errorf("%s: %s has status %s", tt.name, r.href, r.status)
			}
			seen[r.href] = true
		}
		if len(a.responses) != n+tt.extra || len(seen) < n {
			t.Errorf("%s: %d responses for %d objects, want %d", tt.name, len(a.responses), len(seen), n+tt.extra)
		}
	}
}
