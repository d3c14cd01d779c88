package caldav

import (
	"net/http"
	"strings"
)

// An entity tag, wherever this package takes or returns one, is in quotes and strong:
// what If-Match wants (RFC 9110, section 13.1.1). Proxies that compress turn Nextcloud's
// strong tags into W/"..." (nginx) or "...-gzip" (Apache), and Nextcloud answers 412 to
// both, so the marks are taken off. OC-ETag is not touched by proxies and comes first.

// suffixes that web servers put on a tag when they compress.
var suffixes = []string{"--gzip", "-gzip", ";gzip", "-deflate", "-br", "-zstd"}

// headerETag returns the tag of an answer. It is "" where there is none.
func headerETag(h http.Header) string {
	if tag := strongETag(h.Get("OC-ETag")); tag != "" {
		return tag
	}
	tag := strongETag(h.Get("ETag"))
	for _, s := range suffixes {
		if t, ok := strings.CutSuffix(tag, s+`"`); ok && t != `"` {
			return t + `"`
		}
	}
	return tag
}

// storedETag returns the tag with which a server says that it stored what was sent, byte
// for byte: only a strong one does (RFC 4791, section 5.3.4).
func storedETag(h http.Header) string {
	if h.Get("OC-ETag") == "" && strings.HasPrefix(strings.TrimSpace(h.Get("ETag")), "W/") {
		return ""
	}
	return headerETag(h)
}

// strongETag takes the weak mark off and puts quotes on where a server left them out.
// What can't stand in a header is no tag.
func strongETag(tag string) string {
	tag = strings.TrimSpace(tag)
	tag = strings.TrimPrefix(strings.TrimPrefix(tag, "W/"), "w/")
	tag = strings.TrimSuffix(strings.TrimPrefix(tag, `"`), `"`)
	if tag == "" || strings.ContainsFunc(tag, func(r rune) bool { return r < ' ' || r == '"' || r == 0x7f }) {
		return ""
	}
	return `"` + tag + `"`
}
