package caldav

import (
	"net/http"
	"testing"
)

func TestETags(t *testing.T) {
	for _, tt := range []struct{ oc, etag, header, stored string }{
		{"", ``, ``, ``},
		{"", `"abc"`, `"abc"`, `"abc"`},
		{"", `abc`, `"abc"`, `"abc"`},
		{"", `W/"abc"`, `"abc"`, ``},
		{`"abc"`, `W/"abc"`, `"abc"`, `"abc"`},
		{`"abc"`, `"abc-x"`, `"abc"`, `"abc"`},
		{"", `"abc-gzip"`, `"abc"`, `"abc"`},
		{"", `W/"abc--gzip"`, `"abc"`, ``},
		{"", `"abc;gzip"`, `"abc"`, `"abc"`},
		{"", `"-gzip"`, `"-gzip"`, `"-gzip"`},
		{"", `"a"b"`, ``, ``},
		{"", `""`, ``, ``},
	} {
		h := http.Header{}
		if tt.oc != "" {
			h.Set("OC-ETag", tt.oc)
		}
		h.Set("ETag", tt.etag)
		if got := headerETag(h); got != tt.header {
			t.Errorf("headerETag(%v) = %s, want %s", h, got, tt.header)
		}
		if got := storedETag(h); got != tt.stored {
			t.Errorf("storedETag(%v) = %s, want %s", h, got, tt.stored)
		}
	}
	if got := strongETag("a\r\nX: y"); got != "" {
		t.Errorf("a tag with a line break is taken: %q", got)
	}
}
