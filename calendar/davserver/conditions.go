package davserver

import (
	"net/http"
	"strings"
)

// conditions are what If-Match and If-None-Match ask for (RFC 9110, section 13.1).
// They travel to the object, where nothing comes between their check and the write.
type conditions struct {
	Match     *tagList
	NoneMatch *tagList
}

// tagList is the value of such a header: opaque tags without quotes.
type tagList struct {
	Any  bool // "*"
	Tags []string
	Weak []string // those marked W/
}

func conditionsOf(h http.Header) conditions {
	return conditions{Match: parseTags(h["If-Match"]), NoneMatch: parseTags(h["If-None-Match"])}
}

// parseTags reads a list of entity tags; nil if there is no header. What is no tag
// matches nothing.
func parseTags(values []string) *tagList {
	if len(values) == 0 {
		return nil
	}
	l := new(tagList)
	rest := strings.Join(values, ",")
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return l
		}
		if rest[0] == '*' {
			l.Any = true
			rest = rest[1:]
			continue
		}
		weak := strings.HasPrefix(rest, "W/")
		rest = strings.TrimPrefix(rest, "W/")
		if rest == "" || rest[0] != '"' {
			_, rest, _ = strings.Cut(rest, ",")
			continue
		}
		tag, after, closed := strings.Cut(rest[1:], `"`)
		rest = after
		switch {
		case !closed:
		case weak:
			l.Weak = append(l.Weak, tag)
		default:
			l.Tags = append(l.Tags, tag)
		}
	}
}

// hold reports whether a change may happen to a resource with that tag.
func (c conditions) hold(etag string, exists bool) bool {
	if m := c.Match; m != nil && !(exists && (m.Any || contains(m.Tags, etag))) {
		return false
	}
	if m := c.NoneMatch; m != nil && exists && (m.Any || contains(m.Tags, etag) || contains(m.Weak, etag)) {
		return false
	}
	return true
}

func contains(tags []string, tag string) bool {
	for _, t := range tags {
		if t == tag {
			return true
		}
	}
	return false
}
