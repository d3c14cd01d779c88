package davserver

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// kind is what kind of resource a path names.
type kind int

const (
	nowhere       kind = iota
	rootKind           // PREFIX
	principalsAll      // PREFIX principals/
	principalKind      // PREFIX principals/USER/
	homesAll           // PREFIX calendars/
	homeKind           // PREFIX calendars/USER/
	calendarKind       // PREFIX calendars/USER/CALENDAR/
	objectKind         // PREFIX calendars/USER/CALENDAR/OBJECT
)

// target is a path taken apart; names are decoded. Answers repeat the user as the
// path has it, since clients compare what they asked for with what they get.
type target struct {
	kind     kind
	user     string
	calendar string
	object   string
}

// parsePath takes an escaped path apart. ok is false for what is no resource's path.
func (s *Server) parsePath(path string) (t target, ok bool) {
	rest, ok := strings.CutPrefix(path, s.opts.Prefix)
	if !ok {
		if path+"/" == s.opts.Prefix {
			return target{kind: rootKind}, true
		}
		return t, false
	}
	if rest == "" {
		return target{kind: rootKind}, true
	}
	collection := strings.HasSuffix(rest, "/")
	segments := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	for i, seg := range segments {
		name, err := url.PathUnescape(seg)
		if err != nil || !validName(name) {
			return t, false
		}
		segments[i] = name
	}
	top := segments[0]
	if len(segments) > 1 {
		t.user = segments[1]
	}
	switch {
	case top == "principals" && len(segments) == 1:
		t.kind = principalsAll
	case top == "principals" && len(segments) == 2:
		t.kind = principalKind
	case top == "calendars" && len(segments) == 1:
		t.kind = homesAll
	case top == "calendars" && len(segments) == 2:
		t.kind = homeKind
	case top == "calendars" && len(segments) == 3:
		t.kind, t.calendar = calendarKind, segments[2]
	case top == "calendars" && len(segments) == 4 && !collection:
		t.kind, t.calendar, t.object = objectKind, segments[2], segments[3]
	default:
		return t, false
	}
	return t, true
}

// validName says whether a path's segment may be a name: it becomes part of keys
// and of XML.
func validName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > maxNameBytes || !utf8.ValidString(name) {
		return false
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f || r == '/' || r == 0xfffe || r == 0xffff {
			return false
		}
	}
	return true
}

// href returns the canonical path of a resource, escaped.
func (s *Server) href(t target) string {
	p := s.opts.Prefix
	switch t.kind {
	case rootKind:
		return p
	case principalsAll:
		return p + "principals/"
	case principalKind:
		return p + "principals/" + url.PathEscape(t.user) + "/"
	case homesAll:
		return p + "calendars/"
	}
	p += "calendars/" + url.PathEscape(t.user) + "/"
	if t.calendar != "" {
		p += url.PathEscape(t.calendar) + "/"
	}
	if t.object != "" {
		p += url.PathEscape(t.object)
	}
	return p
}

func hrefElement(path string) string { return "<D:href>" + escaped(path) + "</D:href>" }
