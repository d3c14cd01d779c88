package calendar

import (
	"regexp"
	"testing"
)

func TestIDs(t *testing.T) {
	allowed := regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)
	const set = "/dav/calendars/alice/"
	seen := make(map[string]string)
	for _, href := range []string{
		set + "personal/", set + "h.eA/", set + "%C3%A4/", set + "a.b/", set + "a%2Fb/", set + "h/", "/dav/calendars/bob/personal/", "/dav/other/", set,
	} {
		id := calendarID(set, href)
		if other, twice := seen[id]; twice || !allowed.MatchString(id) {
			t.Errorf("calendarID(%q) = %q, also of %q", href, id, other)
		}
		seen[id] = href
	}
	if id := calendarID(set, set+"personal/"); id != "personal" {
		t.Errorf("calendarID of personal = %q", id)
	}
	clear(seen)
	for _, name := range []string{"a.ics", "a", "a.ics.ics", "h.YQ.ics", "x%20y.ics", "%2e%2e.ics", "a@b.ics", ".ics"} {
		id := eventID(set + "personal/" + name)
		if other, twice := seen[id]; twice || !allowed.MatchString(id) {
			t.Errorf("eventID(%q) = %q, also of %q", name, id, other)
		}
		seen[id] = name
	}
}

func TestColors(t *testing.T) {
	if n := len(cssColors()); n != 147 {
		t.Errorf("%d CSS colors, want 147", n)
	}
	for color, want := range map[string]string{"#4682b4": "steelblue", "#4682b5ff": "steelblue", "#ff0000": "red", "navy": "navy"} {
		if got := colorName(color); got != want {
			t.Errorf("colorName(%q) = %q, want %q", color, got, want)
		}
	}
}

func TestImagesAreBounded(t *testing.T) {
	m := images{limit: 3000}
	for _, href := range []string{"a", "b", "c", "d"} {
		m.put(imageKey{"u", href}, &image{size: 1000})
		m.get(imageKey{"u", "a"}) // stays in use
	}
	for href, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true} {
		if got := m.get(imageKey{"u", href}) != nil; got != want {
			t.Errorf("image %s is held: %v, want %v", href, got, want)
		}
	}
	m.forget("u")
	if m.size != 0 || m.used.Len() != 0 {
		t.Errorf("after forget: %d bytes, %d images", m.size, m.used.Len())
	}
}
