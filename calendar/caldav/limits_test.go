package caldav

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestLimits: what a server may send is bounded, compressed or not.
func TestLimits(t *testing.T) {
	const limit = 100 << 10
	var body []byte
	var header http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range header {
			w.Header()[k] = v
		}
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusMultiStatus)
		}
		w.Write(body)
	}))
	defer srv.Close()
	c, err := New(srv.URL, &Options{MaxListing: limit, MaxObject: limit / 10})
	if err != nil {
		t.Fatal(err)
	}
	list := func() error { _, err := c.ListObjects(t.Context(), calHref, ""); return err }
	get := func() error { _, err := c.GetObject(t.Context(), calHref+"a.ics"); return err }
	entry := `<d:response><d:href>/dav/cal/a.ics</d:href><d:status>HTTP/1.1 200 OK</d:status></d:response>`
	many := []byte(multi(strings.Repeat(entry, limit/len(entry)+100))) // more than the buffer that is read ahead
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(many)
	z.Close()
	for _, tt := range []struct {
		name string
		call func() error
		body []byte
		gzip bool
		what string // "": no error
	}{
		{"listing under", list, []byte(multi(strings.Repeat(entry, limit/len(entry)-5))), false, ""},
		{"listing over", list, many, false, "answer"},
		{"listing over, compressed", list, zipped.Bytes(), true, "answer"},
		{"one response over", list, []byte(multi("<d:response>" + strings.Repeat("<x>aaaaaaaaaaaaaaaaaa</x>", limit/30) + "</d:response>")), false, "property"},
		{"a long text", list, []byte(multi("<d:response><d:href>" + strings.Repeat("a", limit/2) + "</d:href></d:response>")), false, "property"},
		{"depth", list, []byte(multi(strings.Repeat("<x>", 40) + strings.Repeat("</x>", 40))), false, "depth"},
		{"object under", get, make([]byte, limit/10), false, ""},
		{"object over", get, make([]byte, limit/10+1), false, "object"},
	} {
		body, header = tt.body, http.Header{}
		if tt.gzip {
			header.Set("Content-Encoding", "gzip")
		}
		err := tt.call()
		var over *LimitError
		switch {
		case tt.what == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.what != "" && (!errors.As(err, &over) || over.What != tt.what || !errors.Is(err, ErrTooLarge)):
			t.Errorf("%s: %v, want a LimitError for %s", tt.name, err, tt.what)
		}
	}
	if _, err := c.CreateObject(t.Context(), calHref+"a.ics", make([]byte, limit)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("CreateObject over the limit = %v, want ErrTooLarge", err)
	}
}
