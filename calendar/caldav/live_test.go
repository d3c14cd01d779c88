package caldav

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar/internal/cyrustest"
	"github.com/perdure/perdure/calendar/internal/servertest"
)

// gaps are what a server does not do. They are named and tested, so that a version that
// does better is noticed, and nowhere worked around.
type gaps struct {
	noColorAtCreation bool // MKCALENDAR ignores calendar-color
	noCategory        bool // unknown properties are not kept
	noFreeBusy        bool // no free-busy-query
	rewrites          bool // data is stored otherwise than it was sent, under a strong ETag
	plainNames        bool // names of calendars are of ASCII letters and the like
	failsOnTokens     bool // a token that is none gets 500 instead of DAV:valid-sync-token
}

func TestRadicale(t *testing.T) {
	c := liveClient(t, servertest.Radicale(t, map[string]string{testUser: testSecret}))
	wrongPassword(t, c)
	exercise(t, c, gaps{rewrites: true, noFreeBusy: true})
}

func TestXandikos(t *testing.T) {
	exercise(t, liveClient(t, servertest.Xandikos(t, testUser)), gaps{
		noColorAtCreation: true, noCategory: true, rewrites: true, failsOnTokens: true,
	})
}

func TestCyrus(t *testing.T) {
	server := cyrustest.Start(t, testSecret, testUser)
	c, err := New(cyrustest.URL, &Options{Credential: Credential{testUser, testSecret}, MultigetChunk: 20, Transport: server.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	wrongPassword(t, c)
	exercise(t, c, gaps{plainNames: true})
}

// A calendar that another shares, read-only and then for writing.
func TestCyrusShares(t *testing.T) {
	ctx := t.Context()
	way := cyrustest.Start(t, testSecret, "alice", "bob").Transport()
	client := func(name string) (*Client, Home) {
		c, err := New(cyrustest.URL, &Options{Credential: Credential{name, testSecret}, Transport: way})
		if err != nil {
			t.Fatal(err)
		}
		home, err := c.Discover(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return c, home
	}
	alice, hers := client("alice")
	bob, his := client("bob")
	cal, err := alice.CreateCalendar(ctx, Join(hers.Sets[0], "team"), Props{DisplayName: new("Team")})
	if err != nil {
		t.Fatal(err)
	}
	share := func(access string) {
		t.Helper()
		if _, err := alice.Do(ctx, Request{Method: http.MethodPost, Href: cal.Href, Header: http.Header{"Content-Type": {"application/davsharing+xml"}},
			Body: []byte(`<share-resource xmlns="DAV:"><sharee><href>mailto:bob@` + cyrustest.Domain + `</href><share-access><` + access + `/></share-access></sharee></share-resource>`)}); err != nil {
			t.Fatal(err)
		}
	}
	shared := func() Calendar {
		t.Helper()
		cals, err := bob.ListCalendars(ctx, his)
		i := slices.IndexFunc(cals, func(c Calendar) bool { return c.SharedWith(his.Principal) })
		if err != nil || i < 0 {
			t.Fatalf("no share in %+v, %v", cals, err)
		}
		return cals[i]
	}
	share("read")
	accept(t, bob, his)
	entry, err := alice.CreateObject(ctx, Join(cal.Href, "a.ics"), event("a", "a"))
	if err != nil {
		t.Fatal(err)
	}
	theirs := shared()
	a := Join(theirs.Href, "a.ics")
	read, err := bob.GetObject(ctx, a)
	if err != nil || read.ETag != entry.ETag || !theirs.ReadOnly() {
		t.Errorf("%+v of %+v, read-only %t, %v", read, theirs, theirs.ReadOnly(), err)
	}
	_, created := bob.CreateObject(ctx, Join(theirs.Href, "b.ics"), event("b", "b"))
	_, updated := bob.UpdateObject(ctx, a, read.ETag, event("a", "b"))
	for what, err := range map[string]error{"CreateObject": created, "UpdateObject": updated, "DeleteObject": bob.DeleteObject(ctx, a, read.ETag)} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s in a read-only share = %v, want ErrReadOnly", what, err)
		}
	}
	share("read-write")
	if theirs = shared(); theirs.ReadOnly() {
		t.Errorf("a share for writing: %+v", theirs)
	}
	if _, err = bob.UpdateObject(ctx, a, read.ETag, event("a", "b")); err != nil {
		t.Error(err)
	}
	if now, err := alice.GetObject(ctx, entry.Href); err != nil || !strings.Contains(string(now.Data), "SUMMARY:b") {
		t.Errorf("the owner reads %q, %v", now.Data, err)
	}
	if err := bob.DeleteCalendar(ctx, theirs.Href); err != nil {
		t.Error(err)
	}
	if _, err := alice.GetObject(ctx, entry.Href); err != nil {
		t.Errorf("after the other left: %v", err)
	}
}

// accept takes the one share that is offered to a user.
func accept(t *testing.T, c *Client, home Home) {
	t.Helper()
	var offer string
	at := "/dav/notifications/user/" + c.account.cred.Username + "/"
	err := c.propfind(t.Context(), at, "1", []xml.Name{propResourceType}, func(href string, _ *response) error {
		if href != at {
			offer = href
		}
		return nil
	})
	if err != nil || offer == "" {
		t.Fatalf("no offer at %s, %v", at, err)
	}
	if _, err := c.Do(t.Context(), Request{Method: http.MethodPost, Href: offer, Header: http.Header{"Content-Type": {"application/davsharing+xml"}},
		Body: []byte(`<invite-reply xmlns="DAV:"><invite-accepted/><create-in><href>` + strings.TrimSuffix(home.Sets[0], "/") + `</href></create-in></invite-reply>`)}); err != nil {
		t.Fatal(err)
	}
}

func wrongPassword(t *testing.T, c *Client) {
	t.Helper()
	if _, err := c.As(Credential{testUser, "wrong"}).Discover(t.Context()); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("Discover with a wrong password = %v, want ErrUnauthorized", err)
	}
}

func liveClient(t *testing.T, address string) *Client {
	t.Helper()
	c, err := New(address, &Options{Credential: Credential{testUser, testSecret}, MultigetChunk: 20})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func event(uid, summary string) []byte {
	return []byte(strings.ReplaceAll(`BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Perdure//test//EN
BEGIN:VEVENT
UID:`+uid+`
DTSTAMP:20260101T000000Z
DTSTART:20260310T090000Z
DTEND:20260310T100000Z
SUMMARY:`+summary+`
X-ADHD-CATEGORY:focus
END:VEVENT
END:VCALENDAR
`, "\n", "\r\n"))
}

// exercise runs all the client does against a server.
func exercise(t *testing.T, c *Client, gap gaps) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	home, err := c.Discover(ctx)
	must(err)
	name := "Büro & mehr"
	if gap.plainNames {
		if _, err := c.CreateCalendar(ctx, Join(home.Sets[0], name), Props{}); !errors.Is(err, ErrForbidden) {
			t.Errorf("CreateCalendar of %q = %v, gap %t", name, err, gap.plainNames)
		}
		name = "office"
	}
	href := Join(home.Sets[0], name)
	cal, err := c.CreateCalendar(ctx, href, Props{
		DisplayName: new("Büro <1>"), Color: new("#FF00AA"), Components: []string{"VEVENT"},
		Category: new("deep work"), FocusPriority: new(7),
	})
	must(err)
	if cal.DisplayName != "Büro <1>" || !SameCollection(cal.Href, href) || !cal.Supports("VEVENT") || cal.ReadOnly() {
		t.Errorf("CreateCalendar = %+v", cal)
	}
	if got := cal.Color == "#FF00AA"; got == gap.noColorAtCreation {
		t.Errorf("color after MKCALENDAR is %q, gap %t", cal.Color, gap.noColorAtCreation)
	}
	if got := cal.Category == "deep work" && cal.FocusPriority == 7; got == gap.noCategory {
		t.Errorf("category and priority after MKCALENDAR are %q %d, gap %t", cal.Category, cal.FocusPriority, gap.noCategory)
	}
	if _, err := c.CreateCalendar(ctx, href, Props{}); !errors.Is(err, ErrExists) {
		t.Errorf("a second CreateCalendar = %v, want ErrExists", err)
	}
	must(c.UpdateCalendar(ctx, href, Props{DisplayName: new("Other"), Color: new("#00FF00"), Category: new("")}))
	cal, err = c.GetCalendar(ctx, href)
	must(err)
	if cal.DisplayName != "Other" || cal.Category != "" || cal.Color != "#00FF00" {
		t.Errorf("after UpdateCalendar: %+v", cal)
	}
	cals, err := c.ListCalendars(ctx, home)
	must(err)
	if !slices.ContainsFunc(cals, func(x Calendar) bool { return x.Href == cal.Href && x.CTag == cal.CTag }) {
		t.Errorf("ListCalendars lacks %s: %+v", cal.Href, cals)
	}
	t.Run("objects", func(t *testing.T) { exerciseObjects(t, c, cal, gap) })
	t.Run("sync", func(t *testing.T) { exerciseSync(t, c, cal, gap) })
	t.Run("many", func(t *testing.T) { exerciseMany(t, c, cal) })
	t.Run("free-busy", func(t *testing.T) {
		data, err := c.FreeBusy(ctx, cal.Href, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC))
		if gap.noFreeBusy == (err == nil) {
			t.Errorf("FreeBusy = %.300q, %v, gap %t", data, err, gap.noFreeBusy)
		}
	})
	must(c.DeleteCalendar(ctx, cal.Href))
	if _, err := c.GetCalendar(ctx, cal.Href); !errors.Is(err, ErrNotFound) {
		t.Errorf("GetCalendar after DeleteCalendar = %v, want ErrNotFound", err)
	}
	if _, err := c.CreateObject(ctx, Join(cal.Href, "x.ics"), event("x", "x")); !errors.Is(err, ErrNotFound) {
		t.Errorf("CreateObject in a deleted calendar = %v, want ErrNotFound", err)
	}
}

func exerciseObjects(t *testing.T, c *Client, cal Calendar, gap gaps) {
	ctx := t.Context()
	href := Join(cal.Href, "a b+ä@c.ics")
	data := event("uid-1", "one")
	obj, err := c.CreateObject(ctx, href, data)
	if err != nil {
		t.Fatal(err)
	}
	read, err := c.GetObject(ctx, href)
	if err != nil {
		t.Fatal(err)
	}
	if obj.ETag == "" || read.ETag != obj.ETag {
		t.Errorf("entity tags %s and %s", obj.ETag, read.ETag)
	}
	if !strings.Contains(string(read.Data), "X-ADHD-CATEGORY:focus") {
		t.Errorf("a property is lost: %q", read.Data)
	}
	if (string(read.Data) != string(data)) != gap.rewrites {
		t.Errorf("stored %q, sent %q, gap %t", read.Data, data, gap.rewrites)
	}
	if _, err := c.CreateObject(ctx, href, data); !errors.Is(err, ErrPreconditionFailed) {
		t.Errorf("a second CreateObject = %v, want ErrPreconditionFailed", err)
	}
	second, err := c.UpdateObject(ctx, href, obj.ETag, event("uid-1", "two"))
	if err != nil || second.ETag == obj.ETag {
		t.Errorf("UpdateObject = %s, %v", second.ETag, err)
	}
	if _, err := c.UpdateObject(ctx, href, obj.ETag, event("uid-1", "three")); !errors.Is(err, ErrPreconditionFailed) {
		t.Errorf("UpdateObject with the old tag = %v, want ErrPreconditionFailed", err)
	}
	other := Join(cal.Href, "other.ics")
	_, err = c.CreateObject(ctx, other, event("uid-1", "again"))
	if !errors.Is(err, ErrUIDConflict) {
		t.Errorf("an object with a used UID = %v, want ErrUIDConflict", err)
	}
	if err := c.DeleteObject(ctx, href, obj.ETag); !errors.Is(err, ErrPreconditionFailed) {
		t.Errorf("DeleteObject with the old tag = %v, want ErrPreconditionFailed", err)
	}
	if err := c.DeleteObject(ctx, href, second.ETag); err != nil {
		t.Error(err)
	}
	if err := c.DeleteObject(ctx, href, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("a second DeleteObject = %v, want ErrNotFound", err)
	}
	if _, err := c.GetObject(ctx, href); !errors.Is(err, ErrNotFound) {
		t.Errorf("GetObject = %v, want ErrNotFound", err)
	}
}

func exerciseSync(t *testing.T, c *Client, cal Calendar, gap gaps) {
	ctx := t.Context()
	href := func(name string) string { return Join(cal.Href, name+".ics") }
	n := 0
	put := func(name string) Entry {
		t.Helper()
		n++ // never the same twice: Xandikos is git inside, and sees no change then
		obj, err := c.CreateObject(ctx, href(name), event(name, fmt.Sprint(n)))
		if err != nil {
			t.Fatal(err)
		}
		return Entry{obj.Href, obj.ETag}
	}
	del := func(name string) {
		t.Helper()
		if err := c.DeleteObject(ctx, href(name), ""); err != nil {
			t.Fatal(err)
		}
	}
	check := func(token string, changed []Entry, removed ...string) string {
		t.Helper()
		d, err := c.Sync(ctx, cal.Href, token)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Delta{d.Token, changed, removed}, d); diff != "" {
			t.Errorf("Sync(%q) (-want +got):\n%s", token, diff)
		}
		return d.Token
	}
	before, err := c.GetVersion(ctx, cal.Href)
	if err != nil {
		t.Fatal(err)
	}
	a, b := put("a"), put("b")
	after, err := c.GetVersion(ctx, cal.Href)
	if err != nil || before == after {
		t.Errorf("the version did not change: %v, %v", after, err)
	}
	token := check("", []Entry{a, b})
	if again := check(token, nil); again != token {
		t.Errorf("the token changed without a change: %q and %q", token, again)
	}
	a2, err := c.UpdateObject(ctx, a.Href, a.ETag, event("a", "y"))
	if err != nil {
		t.Fatal(err)
	}
	del("b")
	d := put("d")
	next := check(token, []Entry{{a.Href, a2.ETag}, d}, href("b"))
	check(token, []Entry{{a.Href, a2.ETag}, d}, href("b")) // the same question again
	del("d")
	d = put("d")
	next = check(next, []Entry{d}) // deleted and made again: changed
	check(next, nil)
	_, err = c.Sync(ctx, cal.Href, "http://example.org/ns/sync/none")
	if errors.Is(err, ErrSyncTokenInvalid) == gap.failsOnTokens {
		t.Errorf("Sync with a foreign token = %v, gap %t", err, gap.failsOnTokens)
	}
	entries, err := c.ListObjects(ctx, cal.Href, "VEVENT")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Entry{{a.Href, a2.ETag}, d}, entries); diff != "" {
		t.Errorf("ListObjects (-want +got):\n%s", diff)
	}
	del("a")
	del("d")
}

// exerciseMany reads more objects than one chunk has.
func exerciseMany(t *testing.T, c *Client, cal Calendar) {
	ctx := t.Context()
	var hrefs []string
	want := map[string]string{}
	for i := range 50 {
		href := Join(cal.Href, fmt.Sprintf("m%d.ics", i))
		if hrefs = append(hrefs, href); i%9 == 0 {
			continue // a missing one
		}
		obj, err := c.CreateObject(ctx, href, event(fmt.Sprintf("m%d", i), "x"))
		if err != nil {
			t.Fatal(err)
		}
		want[href] = obj.ETag
	}
	got := map[string]string{}
	for obj, err := range c.Multiget(ctx, cal.Href, hrefs) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(obj.Data), "SUMMARY:x") {
			t.Errorf("%s: %q", obj.Href, obj.Data)
		}
		got[obj.Href] = obj.ETag
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Multiget (-want +got):\n%s", diff)
	}
	if missing, err := c.ask(ctx, cal.Href, hrefs[:1], false, func(string, *response) bool { return true }); err != nil || len(missing) > 0 {
		t.Errorf("a missing object: %q, %v", missing, err)
	}
	if _, err := c.Do(ctx, Request{Method: http.MethodGet, Href: hrefs[0]}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Do = %v, want ErrNotFound", err)
	}
}
