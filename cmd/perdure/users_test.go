package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// command runs the program to its end.
func command(t *testing.T, dir string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := launch(t, dir, env, args...)
	<-p.ready()
	code = p.wait()
	return code, p.stdout.String(), p.stderr.String()
}

// addUser adds a user and returns the secret.
func addUser(t *testing.T, dir, name string) string {
	t.Helper()
	code, out, stderr := command(t, dir, nil, "users", "add", name)
	secret := strings.TrimSpace(out)
	if code != 0 || !regexp.MustCompile(`^u_[a-z2-7]{26}\.[A-Za-z0-9_-]{43}$`).MatchString(secret) {
		t.Fatalf("users add %s = %d %q %s, want a secret", name, code, out, stderr)
	}
	if strings.Contains(stderr, secret) {
		t.Errorf("users add repeats the secret on standard error")
	}
	return secret
}

func users(t *testing.T, dir string) string {
	t.Helper()
	code, out, stderr := command(t, dir, nil, "users", "list")
	if code != 0 {
		t.Fatalf("users list = %d %s", code, stderr)
	}
	return out
}

func basic(name, secret string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+secret))}
}

const event = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:%[1]s\r\nDTSTAMP:20260101T000000Z\r\n" +
	"DTSTART:20260102T100000Z\r\nSUMMARY:%[1]s\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

var serveArgs = []string{"serve", "--addr", "127.0.0.1:0"}

// TestTwoUsers lets two users write and look, before and after a kill -9: neither gets
// anything of the other's.
func TestTwoUsers(t *testing.T) {
	dir := t.TempDir()
	secrets := map[string]string{"ann": addUser(t, dir, "ann")} // offline
	p := start(t, dir, nil, serveArgs...)
	secrets["bob"] = addUser(t, dir, "bob") // beside the server
	other := map[string]string{"ann": "bob", "bob": "ann"}
	ids := make(map[string]string)
	for name, secret := range secrets {
		ids[name], _, _ = strings.Cut(secret, ".")
		path := "/dav/calendars/" + name + "/personal/secret-of-" + name + ".ics"
		if code, body := p.do("PUT", path, fmt.Sprintf(event, "secret-of-"+name), append(basic(name, secret), "Content-Type", "text/calendar")...); code != 201 {
			t.Fatalf("PUT by %s = %d %s", name, code, body)
		}
	}
	check := func(when string) {
		t.Helper()
		for name, secret := range secrets {
			_, plain, _ := strings.Cut(secret, ".")
			auth := basic(name, secret)
			for _, a := range [][]string{auth, basic(name, plain), basic(ids[name], secret), {"Authorization", "Bearer " + secret}} {
				path := "/dav/calendars/" + name + "/personal/secret-of-" + name + ".ics"
				if code, body := p.do("GET", path, "", a...); code != 200 || !strings.Contains(body, "secret-of-"+name) {
					t.Errorf("%s: GET of the own event with %.12s… = %d %s", when, a[1], code, body)
				}
			}
			var seen strings.Builder
			for _, path := range []string{"", "principals/", "principals/" + name + "/", "calendars/", "calendars/" + name + "/", "calendars/" + name + "/personal/"} {
				code, body := p.do("PROPFIND", "/dav/"+path, "", append(auth, "Depth", "1")...)
				if code != 207 {
					t.Errorf("%s: PROPFIND %s by %s = %d", when, path, name, code)
				}
				seen.WriteString(body)
			}
			if !strings.Contains(seen.String(), "secret-of-"+name) {
				t.Errorf("%s: %s's event is not in the calendar", when, name)
			}
			them := other[name]
			for _, owner := range []string{them, ids[them], "me"} {
				for _, c := range [][2]string{
					{"GET", "personal/secret-of-" + them + ".ics"}, {"PUT", "personal/new.ics"}, {"DELETE", "personal/secret-of-" + them + ".ics"},
					{"PROPFIND", ""}, {"PROPFIND", "personal/"}, {"REPORT", "personal/"}, {"DELETE", "personal/"}, {"MKCALENDAR", "x/"}, {"PROPPATCH", "personal/"},
				} {
					code, body := p.do(c[0], "/dav/calendars/"+owner+"/"+c[1], fmt.Sprintf(event, "new"), append(auth, "Depth", "1")...)
					if code/100 != 4 {
						t.Errorf("%s: %s %s of %s by %s = %d, want 4xx", when, c[0], c[1], owner, name, code)
					}
					seen.WriteString(body)
				}
			}
			if strings.Contains(seen.String(), "secret-of-"+them) || strings.Contains(seen.String(), ids[them]) {
				t.Errorf("%s: %s sees something of %s", when, name, them)
			}
			for _, a := range [][]string{nil, basic(name, "wrong"), basic(name, secrets[them]), basic(them, secret), basic(name, ""), basic("", secret), basic("me", ""), {"Authorization", "Bearer x"}} {
				resp := p.response("PROPFIND", "/dav/calendars/"+name+"/", a...)
				if resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic realm=") {
					t.Errorf("%s: PROPFIND with %q = %d %v, want 401 and a Basic challenge", when, a, resp.StatusCode, resp.Header)
				}
			}
		}
		if code, _ := p.do("GET", "/objects/SESSIONS/x/get?id=y", ""); code != 403 {
			t.Errorf("%s: /objects/ without token while there are users = %d, want 403", when, code)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	check("at first")
	p.kill()
	p = start(t, dir, nil, serveArgs...)
	check("after kill -9")

	list := users(t, dir)
	if !regexp.MustCompile(`(?m)^ann +u_\S+ +added \S+ \S+ [+-]\d\d:\d\d\nbob +u_\S+ +added \S+ \S+ [+-]\d\d:\d\d\n$`).MatchString(list) {
		t.Errorf("users list:\n%s", list)
	}
	p.stop()
	everything := list + p.stdout.String() + p.stderr.String()
	for name, secret := range secrets {
		if _, plain, _ := strings.Cut(secret, "."); strings.Contains(everything, plain) {
			t.Errorf("%s's secret is in the output", name)
		}
	}
}

func (p *process) response(method, path string, header ...string) *http.Response {
	p.t.Helper()
	req, err := http.NewRequest(method, p.base+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func TestUsersRemove(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, nil, serveArgs...)
	ann, bob := addUser(t, dir, "ann"), addUser(t, dir, "bob")
	annID, _, _ := strings.Cut(ann, ".")
	path := "/dav/calendars/ann/"

	// A request that is under way when ann is removed: its body never comes to an end.
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT %spersonal/slow.ics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: %s\r\nContent-Type: text/calendar\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n",
		path, basic("ann", ann)[1])
	if line := make([]byte, 25); true { // the handler has begun to read
		if _, err := io.ReadFull(conn, line); err != nil || string(line) != "HTTP/1.1 100 Continue\r\n\r\n" {
			t.Fatalf("answer to Expect = %q, %v", line, err)
		}
	}
	if code, out, stderr := command(t, dir, nil, "users", "remove", "ann"); code != 0 || !strings.Contains(out, "data is kept") {
		t.Fatalf("users remove = %d %s %s", code, out, stderr)
	}
	if answer, _ := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
		t.Errorf("the request that was under way got %s", answer)
	}
	if code, _ := p.do("PROPFIND", path, "", basic("ann", ann)...); code != 401 {
		t.Errorf("PROPFIND by a removed user = %d, want 401", code)
	}
	if list := users(t, dir); !regexp.MustCompile(`ann +` + annID + ` +removed .*data kept`).MatchString(list) {
		t.Errorf("users list:\n%s", list)
	}

	// The name is another's now, who finds nothing.
	again := addUser(t, dir, "ann")
	if code, _ := p.do("PUT", path+"personal/mine.ics", fmt.Sprintf(event, "again"), basic("ann", again)...); code != 201 {
		t.Errorf("PUT by the new ann = %d, want 201", code)
	}
	if code, out, stderr := command(t, dir, nil, "users", "remove", annID, "--purge"); code != 0 || !strings.Contains(out, "with all data") {
		t.Fatalf("users remove --purge = %d %s %s", code, out, stderr)
	}
	if list := users(t, dir); strings.Contains(list, annID) || !strings.Contains(list, "bob") {
		t.Errorf("users list after the purge:\n%s", list)
	}
	if code, _ := p.do("GET", path+"personal/mine.ics", "", basic("ann", again)...); code != 200 {
		t.Errorf("GET by the new ann after the purge of the old = %d, want 200", code)
	}
	for _, name := range []string{annID, "nobody", "me", "a/b"} {
		if code, _, stderr := command(t, dir, nil, "users", "remove", name); code != 1 || !strings.Contains(stderr, "no such user") {
			t.Errorf("users remove %s = %d %s, want 1", name, code, stderr)
		}
	}
	p.stop()

	// The same without a server.
	if code, _, stderr := command(t, dir, nil, "users", "remove", "bob", "--purge"); code != 0 {
		t.Fatalf("users remove --purge without a server = %d %s", code, stderr)
	}
	p = start(t, dir, nil, serveArgs...)
	if code, _ := p.do("PROPFIND", "/dav/", "", basic("bob", bob)...); code != 401 {
		t.Errorf("PROPFIND by bob after a restart = %d, want 401", code)
	}
}

func TestUsersRefused(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"list"}, 1, "no data in .perdure"},
		{[]string{"list", "--store", "bogus:x"}, 2, `--store "bogus:x"`},
		{[]string{"list", "--store", "host=h password=secret@"}, 2, `--store "host=…"`},
		{[]string{"list", "--data", "not/there"}, 1, "no data in not/there:"},
		{[]string{"list"}, 1, "none in " + filepath.Join(dir, ".local", "share", "perdure")},
		{[]string{"remove", "ann"}, 1, "no data in .perdure"},
		{[]string{"show", "me"}, 1, "no data in .perdure"},
		{[]string{"set", "ann", "--address", "a@b.cd"}, 1, "no data in .perdure"},
		{[]string{"add", "Ann"}, 1, "invalid name"},
		{[]string{"add", "me"}, 1, "single user"},
		{[]string{"add"}, 2, "<name>"},
		{[]string{"add", "ann", "--store", "memory:"}, 2, "memory:"},
		{[]string{"add", "ann", "--store", "mysql://u:secret@h/d"}, 2, `--store "mysql:…"`},
	} {
		code, _, stderr := command(t, dir, nil, append([]string{"users"}, c.args...)...)
		if code != c.status || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "secret@") {
			t.Errorf("users %q = %d %s, want %d with %q", c.args, code, stderr, c.status, c.want)
		}
		if c.args[0] != "add" {
			if _, err := os.Stat(filepath.Join(dir, ".perdure")); !os.IsNotExist(err) {
				t.Errorf("users %q made a data folder", c.args)
			}
		}
	}
	addUser(t, dir, "ann")
	if code, _, stderr := command(t, dir, nil, "users", "add", "ann"); code != 1 || !strings.Contains(stderr, "the name is taken") {
		t.Errorf("second users add = %d %s", code, stderr)
	}
	// A folder that another process holds, which does not listen.
	if err := os.WriteFile(filepath.Join(dir, ".perdure", socketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := command(t, dir, nil, "users", "list"); code != 1 || !strings.Contains(stderr, "not a socket") {
		t.Errorf("users list with a file in place of the socket = %d %s", code, stderr)
	}
}

// TestDataIsNamed has what changes data say where that is.
func TestDataIsNamed(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	own := filepath.Join(home, ".local", "share", "perdure")
	here := filepath.Join(filepath.Base(dir), localFolder)
	says := func(args string) string {
		t.Helper()
		code, _, stderr := command(t, dir, []string{"HOME=" + home}, strings.Fields(args)...)
		first, _, _ := strings.Cut(stderr, "\n")
		if code != 0 || !strings.HasPrefix(first, "Data: ") || !filepath.IsAbs(strings.TrimPrefix(first, "Data: ")) {
			t.Errorf("%s = %d %q, want the folder on the first line", args, code, stderr)
		}
		return first
	}
	if got := says("users add ann"); !strings.Contains(got, here+", which is made now") || !strings.Contains(got, "uses "+own) {
		t.Errorf("users add says %q, want that it makes %s, and that stdio uses %s", got, here, own)
	}
	for _, args := range []string{"users add bob", "users set ann --time-zone Asia/Tokyo", "users remove ann"} {
		if got := says(args); !strings.Contains(got, here+" (") {
			t.Errorf("%s says %q, want %s and not that it is new", args, got, here)
		}
	}
	if got := says("users add ann --data there"); !strings.HasSuffix(got, "/there, which is made now") {
		t.Errorf("users add --data there says %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "there", "store")); err != nil {
		t.Errorf("nothing is in the folder that was named: %v", err)
	}
	code, out, stderr := command(t, dir, nil, "users", "list")
	if code != 0 || !strings.Contains(out, "bob") || stderr != "" {
		t.Errorf("users list = %d %q %q, want bob, and nothing of folders", code, out, stderr)
	}
	if code, out, stderr := command(t, dir, nil, "users", "show", "me", "--data", "there"); code != 0 || !strings.Contains(out, "time-zone") || stderr != "" {
		t.Errorf("users show me = %d %q %q", code, out, stderr)
	}
	p := start(t, dir, nil, append(serveArgs, "--data", "there")...)
	p.stop()
	if !regexp.MustCompile(`(?m)^  data +/.*/there$`).MatchString(p.stdout.String()) {
		t.Errorf("serve does not say where its data is: %s", p.stdout)
	}
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if got := says("users add ann"); got != "Data: "+own+", which is made now" {
		t.Errorf("users add with a folder of the user's own says %q, want %s", got, own)
	}
	if at := (place{dir: "d", databases: []string{"postgres://u:s3cret@db.example:5433/cal?sslpassword=s3cret"}}).where(); at != "PostgreSQL db.example:5433/cal" {
		t.Errorf("databases are called %q", at)
	}
}

// TestUsersSet sets what makes a meeting the user's own, before any server has seen the
// folder and beside one.
func TestUsersSet(t *testing.T) {
	dir := t.TempDir()
	set := func(args ...string) string {
		t.Helper()
		code, out, stderr := command(t, dir, nil, append([]string{"users", "set", "me"}, args...)...)
		if code != 0 {
			t.Fatalf("users set %q = %d %s", args, code, stderr)
		}
		return strings.Join(strings.Fields(out), " ")
	}
	if got, want := set("--time-zone", "asia/tokyo"), "address - time-zone Asia/Tokyo default-calendar - hide -"; got != want {
		t.Errorf("users set shows %q, want %q", got, want)
	}
	if code, _, stderr := command(t, dir, nil, "users", "set", "me", "--hide", "work"); code != 1 || !strings.Contains(stderr, "before a server has run") {
		t.Errorf("users set --hide before there are calendars = %d %s", code, stderr)
	}
	p := start(t, dir, nil, serveArgs...)
	meeting := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:m\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260102T100000Z\r\n" +
		"SUMMARY:Talk\r\nORGANIZER:mailto:ann@example.org\r\nATTENDEE:mailto:bob@example.org\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	if code, body := p.do("PUT", "/dav/calendars/me/personal/m.ics", meeting, "Content-Type", "text/calendar"); code != 201 {
		t.Fatalf("PUT = %d %s", code, body)
	}
	c := p.mcp(stateless, "")
	move := func() (string, bool) {
		t.Helper()
		return c.tool("updateEvent", map[string]any{"calendarId": "personal", "eventId": "m", "start": "2026-01-02T12:00"})
	}
	if text, failed := move(); !failed || !strings.Contains(text, "organized by ann@example.org") || !strings.Contains(text, "perdure users set NAME --address MAIL") {
		t.Errorf("updateEvent of a meeting of nobody known = %s", text)
	}
	if text, failed := c.tool("updateEvent", map[string]any{"calendarId": "personal", "eventId": "m", "color": "red"}); failed {
		t.Errorf("updateEvent of what is the user's own: %s", text)
	}
	if got, want := set("--address", "Ann@example.org,ann@example.com", "--hide", "work"), "address ann@example.org, ann@example.com time-zone Asia/Tokyo default-calendar - hide work"; got != want {
		t.Errorf("users set shows %q, want %q", got, want)
	}
	if text, failed := move(); failed || !strings.Contains(text, "2026-01-02T03:00:00.000Z") {
		t.Errorf("updateEvent of the user's own meeting = %s", text)
	}
	if got, want := set("--address", "", "--hide", "", "--time-zone", ""), "address - time-zone - default-calendar - hide -"; got != want {
		t.Errorf("users set shows %q, want %q", got, want)
	}
	if text, failed := move(); !failed {
		t.Errorf("updateEvent after the address was taken away = %s", text)
	}
	for _, bad := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"set", "me"}, 2, "nothing to change"},
		{[]string{"set", "me", "--address", "ann"}, 1, `--address: "ann" is not an e-mail address`},
		{[]string{"set", "me", "--time-zone", "Foo/Bar"}, 1, `--time-zone: "Foo/Bar" is not a time zone`},
		{[]string{"set", "me", "--default-calendar", "nope"}, 1, "personal"},
		{[]string{"set", "bob", "--address", "b@example.org"}, 1, "there is no such user"},
		{[]string{"show", "bob"}, 1, "there is no such user"},
	} {
		if code, out, stderr := command(t, dir, nil, append([]string{"users"}, bad.args...)...); code != bad.status || !strings.Contains(stderr, bad.want) || out != "" {
			t.Errorf("users %q = %d %q %s, want %d with %q", bad.args, code, out, stderr, bad.status, bad.want)
		}
	}
}

// TestUsersBeforeMigrations adds a user to a folder that no server has seen, with classes
// of the configuration to come, and refuses configurations that take our own.
func TestUsersBeforeMigrations(t *testing.T) {
	dir := t.TempDir()
	addUser(t, dir, "ann")
	write(t, dir, "wrangler.toml", seedConfig)
	p := start(t, dir, []string{"PERDURE_TOKEN=t"}, serveArgs...)
	if code, body := p.do("PUT", "/objects/CALENDARS/a/calendars", "[1]", "Authorization", "Bearer t"); code != 200 {
		t.Errorf("PUT = %d %s", code, body)
	}
	for _, class := range []string{"User", "Users", "Home", "Calendar"} {
		if code, _ := p.do("GET", "/objects/"+class+"/all/x", "", "Authorization", "Bearer t"); code != 404 {
			t.Errorf("/objects/%s = %d, want 404", class, code)
		}
	}
	p.stop()
	for _, bad := range []string{
		strings.ReplaceAll(seedConfig, `"SessionStore"`, `"Users"`),
		strings.Replace(seedConfig, `name = "SESSIONS"`, `name = "Home"`, 1),
		seedConfig + "\n[[migrations]]\ntag = \"v2\"\ndeleted_classes = [\"User\"]\n",
	} {
		write(t, dir, "wrangler.toml", bad)
		if code, _, stderr := command(t, dir, nil, append(serveArgs, "--yes")...); code != 1 {
			t.Errorf("serve with\n%s\n= %d %s, want 1", bad, code, stderr)
		}
	}
	if list := users(t, dir); !strings.Contains(list, "ann") {
		t.Errorf("users list:\n%s", list)
	}
}

func TestMe(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, nil, serveArgs...)
	home := func(header ...string) (int, string) {
		return p.do("PROPFIND", "/dav/calendars/me/", "", append(header, "Depth", "1")...)
	}
	code, body := home()
	if code != 207 || !strings.Contains(body, "/dav/calendars/me/personal/") || !strings.Contains(body, "/dav/calendars/me/work/") {
		t.Errorf("PROPFIND by me at first start = %d %s, want two calendars", code, body)
	}
	if code, _ := p.do("DELETE", "/dav/calendars/me/work/", ""); code != 204 {
		t.Errorf("DELETE = %d", code)
	}
	if code, _ := home("X-Forwarded-For", "10.1.1.1"); code != 403 {
		t.Errorf("PROPFIND through a proxy where nothing is secret = %d, want 403", code)
	}
	if resp := p.response("GET", "/.well-known/caldav"); resp.Request.URL.Path != "/dav/" {
		t.Errorf("/.well-known/caldav leads to %s, want /dav/", resp.Request.URL)
	}
	p.stop()

	p = start(t, dir, []string{"PERDURE_TOKEN=t0ken"}, serveArgs...)
	for _, c := range []struct {
		header []string
		want   int
	}{
		{nil, 401},
		{basic("me", "t0ken"), 207},
		{basic("ann", "t0ken"), 401},
		{basic("me", "t0kem"), 401},
		{basic("me", ""), 401},
		{[]string{"Authorization", "Bearer t0ken"}, 207},
		{[]string{"Authorization", "Bearer me.t0ken"}, 401},
	} {
		if code, _ := home(c.header...); code != c.want {
			t.Errorf("PROPFIND with %q and a token = %d, want %d", c.header, code, c.want)
		}
	}
	if code, body := home(basic("me", "t0ken")...); code != 207 || strings.Contains(body, "/work/") {
		t.Errorf("PROPFIND after a restart = %d %s: the deleted calendar is back", code, body)
	}
	secret := addUser(t, dir, "ann")
	for _, header := range [][]string{nil, basic("me", "t0ken"), {"Authorization", "Bearer t0ken"}, basic("ann", "t0ken")} {
		if code, _ := home(header...); code != 401 {
			t.Errorf("PROPFIND by me with %q once there is a user = %d, want 401", header, code)
		}
	}
	if code, body := p.do("PROPFIND", "/dav/calendars/ann/", "", append(basic("ann", secret), "Depth", "1")...); code != 207 || !strings.Contains(body, "/ann/personal/") {
		t.Errorf("PROPFIND by ann = %d %s", code, body)
	}
	if code, _ := p.do("GET", "/objects/SESSIONS/x/get?id=y", "", "Authorization", "Bearer t0ken"); code != 404 {
		t.Errorf("/objects/ with the token = %d, want 404 of the object", code)
	}
	if code, _ := p.do("GET", "/objects/SESSIONS/x/get?id=y", "", "Authorization", "Bearer "+secret); code != 401 {
		t.Errorf("/objects/ with a user's token = %d, want 401", code)
	}
}

func TestFailedLoginsAreBounded(t *testing.T) {
	dir := t.TempDir()
	ann, bob := addUser(t, dir, "ann"), addUser(t, dir, "bob")
	p := start(t, dir, nil, serveArgs...)
	status := func(name, secret string) int {
		return p.response("PROPFIND", "/dav/", append(basic(name, secret), "Depth", "0")...).StatusCode
	}
	// An attempt is free again after a few seconds: on a slow machine that is now.
	// So no number is expected at any time, only what comes sooner or later.
	checked, heldBack := 0, false
	for range 1000 {
		if status("ann", "wrong") == 401 {
			checked++
			continue
		}
		resp := p.response("PROPFIND", "/dav/", basic("ann", ann)...)
		if heldBack = resp.StatusCode == 429; heldBack {
			if resp.Header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
			break
		}
	}
	if !heldBack {
		t.Error("no login was held back")
	}
	if checked < 20 {
		t.Errorf("after %d failed logins one was held back, want 20 at least", checked)
	}
	if code := status("bob", bob); code != 207 {
		t.Errorf("login of another user = %d, want 207", code)
	}
}

func TestNextcloudVariables(t *testing.T) {
	dir := t.TempDir()
	const secret = "app-p4ss"
	all := []string{"NEXTCLOUD_BASE_URL=https://cloud.example.org", "NEXTCLOUD_USERNAME=ann", "NEXTCLOUD_APP_TOKEN=" + secret}
	for _, c := range []struct {
		env    []string
		want   string
		absent string
	}{
		{all[:1], "NEXTCLOUD_USERNAME, NEXTCLOUD_APP_TOKEN: not set", ""},
		{all[:2], "NEXTCLOUD_APP_TOKEN: not set", ""},
		{all[1:], "NEXTCLOUD_BASE_URL: not set", secret},
		{[]string{all[0], all[1], "NEXTCLOUD_APP_TOKEN="}, "NEXTCLOUD_APP_TOKEN: not set", ""},
		{[]string{"NEXTCLOUD_BASE_URL=http://cloud.example.org", all[1], all[2]}, "plain http", secret},
		{[]string{"NEXTCLOUD_BASE_URL=https://x:" + secret + "@cloud.example.org", all[1], all[2]}, "user or password", secret},
		{append(all, "NEXTCLOUD_CA_FILE=nope.pem"), "nope.pem", secret},
	} {
		code, out, stderr := command(t, dir, c.env, append(serveArgs, "--store", "memory:")...)
		if code != 1 || !strings.Contains(stderr, c.want) || c.absent != "" && strings.Contains(out+stderr, c.absent) {
			t.Errorf("serve with %q = %d %s, want 1 with %q", c.env, code, stderr, c.want)
		}
	}
	dav := func(env []string, args ...string) int {
		p := start(t, dir, env, append(append(serveArgs, "--store", "memory:"), args...)...)
		code, _ := p.do("PROPFIND", "/dav/calendars/me/", "", "Depth", "0")
		p.stop()
		if strings.Contains(p.stdout.String()+p.stderr.String(), secret) {
			t.Errorf("serve %q prints the app password", args)
		}
		return code
	}
	if code := dav(all); code != 404 {
		t.Errorf("/dav/ with a Nextcloud = %d, want 404", code)
	}
	if code := dav(all, "--dav"); code != 207 {
		t.Errorf("/dav/ with a Nextcloud and --dav = %d, want 207", code)
	}
	p := start(t, dir, all, append(serveArgs, "--store", "memory:", "--dav")...)
	if code, body := p.do("PROPFIND", "/dav/calendars/me/", "", "Depth", "1"); code != 207 || !strings.Contains(body, "/me/personal/") || !strings.Contains(body, "/me/work/") {
		t.Errorf("/dav/ with a Nextcloud and --dav = %d %s, want the two sample calendars", code, body)
	}
	p.stop()
	if code := dav([]string{"NEXTCLOUD_BASE_URL=http://cloud.example.org", all[1], all[2]}, "--insecure-http"); code != 404 {
		t.Errorf("/dav/ with an insecure Nextcloud = %d, want 404", code)
	}
	write(t, dir, ".dev.vars", strings.Join(all, "\n")) // and not from the environment
	if code := dav(nil); code != 404 {
		t.Errorf("/dav/ with a Nextcloud in .dev.vars = %d, want 404", code)
	}
	if code, _, stderr := command(t, dir, []string{"NEXTCLOUD_USERNAME="}, serveArgs...); code != 1 || !strings.Contains(stderr, "NEXTCLOUD_USERNAME: not set") {
		t.Errorf("serve with the environment over .dev.vars = %d %s", code, stderr)
	}
}

func TestObjectsSeeNoSecrets(t *testing.T) {
	cfg := &config{getenv: func(string) (string, bool) { return "", false },
		vars: map[string]string{"PERDURE_TOKEN": "x", "NEXTCLOUD_APP_TOKEN": "x", "GREETING": "hello"}}
	if got := cfg.objectVars(); len(got) != 1 || got["GREETING"] != "hello" {
		t.Errorf("objectVars() = %q, want the greeting alone", got)
	}
}

// nextcloudStub is as much of one as a login needs.
type nextcloudStub struct {
	*httptest.Server
	takesBack atomic.Bool // app passwords
	returned  atomic.Int32
	fresh     atomic.Bool // each login gets a password of its own
	issued    atomic.Int32
}

// nextcloudServer starts one. agree says what polling answers.
func nextcloudServer(t *testing.T, agree func() bool) *nextcloudStub {
	mux := http.NewServeMux()
	srv := &nextcloudStub{Server: httptest.NewServer(mux)}
	t.Cleanup(srv.Close)
	mux.HandleFunc("DELETE /cloud/ocs/v2.php/core/apppassword", func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if !srv.takesBack.Load() || user != "ann@nc" || !strings.HasPrefix(password, "app-p4ss") || r.Header.Get("OCS-APIRequest") == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		srv.returned.Add(1)
		io.WriteString(w, `{"ocs":{"meta":{"status":"ok"},"data":[]}}`)
	})
	mux.HandleFunc("POST /cloud/index.php/login/v2", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{
			"poll":  map[string]string{"token": "poll-t0ken", "endpoint": srv.URL + "/cloud/index.php/login/v2/poll"},
			"login": srv.URL + "/cloud/index.php/login/v2/flow/abc",
		})
	})
	mux.HandleFunc("POST /cloud/index.php/login/v2/poll", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("token") != "poll-t0ken" || !agree() {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		password := "app-p4ss"
		if srv.fresh.Load() {
			password += fmt.Sprint(srv.issued.Add(1))
		}
		json.NewEncoder(w).Encode(map[string]string{"server": srv.URL + "/cloud", "loginName": "ann@nc", "appPassword": password})
	})
	return srv
}

func TestLogin(t *testing.T) {
	dir := t.TempDir()
	nc := nextcloudServer(t, func() bool { return true })
	login := func(args ...string) (int, string, string) {
		t.Helper()
		code, out, stderr := command(t, dir, nil, append([]string{"login", nc.URL + "/cloud"}, args...)...)
		if all := out + stderr; strings.Contains(all, "app-p4ss") || strings.Contains(all, "poll-t0ken") {
			t.Errorf("login prints a secret: %s", all)
		}
		return code, out, stderr
	}
	if code, out, stderr := login(); code != 0 || !strings.Contains(out, nc.URL+"/cloud/index.php/login/v2/flow/abc") || !strings.Contains(out, "Logged in as ann@nc") {
		t.Fatalf("login = %d %s %s", code, out, stderr)
	}
	info, err := os.Stat(filepath.Join(dir, ".perdure", "key"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("key file: %v, %v, want mode 0600", info, err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--user", "nobody"}, 1, "no such user"},
		{[]string{"http://cloud.example.org"}, 2, "unexpected argument"},
	} {
		code, out, stderr := login(c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) || strings.Contains(out, "Open this page") {
			t.Errorf("login %q = %d %s %s, want %d with %q before anything is asked", c.args, code, out, stderr, c.code, c.want)
		}
	}
	for url, want := range map[string]string{"http://cloud.example.org": "plain http", "cloud.example.org": "not an http", nc.URL + "/nothing": "this is no Nextcloud (or an old one): start login: POST /nothing/index.php/login/v2: 404"} {
		if code, _, stderr := command(t, dir, nil, "login", url); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("login %s = %d %s, want %q", url, code, stderr, want)
		}
	}

	// Beside a server, for another user.
	p := start(t, dir, nil, serveArgs...)
	addUser(t, dir, "ann")
	if code, _, stderr := login("--user", "ann"); code != 0 {
		t.Errorf("login --user ann beside a server = %d %s", code, stderr)
	}
	os.Chmod(filepath.Join(dir, ".perdure", "key"), 0o644)
	p.stop()
	if code, _, stderr := login(); code != 1 || !strings.Contains(stderr, "mode 0644") || !strings.Contains(stderr, "left over") {
		t.Errorf("login with an open key file = %d %s, want 1, what is wrong, and what is left over", code, stderr)
	}
	command(t, dir, nil, "users", "remove", "ann", "--purge")
	if code, _, stderr := command(t, dir, nil, serveArgs...); code != 1 || !strings.Contains(stderr, "mode 0644") {
		t.Errorf("serve with an open key file and a credential of me = %d %s, want 1", code, stderr)
	}
	if strings.Contains(p.stdout.String()+p.stderr.String(), "app-p4ss") {
		t.Error("the server prints the app password")
	}
	if out, err := exec.Command("grep", "-r", "app-p4ss", dir).Output(); err == nil {
		t.Errorf("the app password is in the data folder: %s", out)
	}
}

// TestLogout undoes logins: without a server, and beside one, which shows the calendars
// that are here at once.
func TestLogout(t *testing.T) {
	dir := t.TempDir()
	nc := nextcloudServer(t, func() bool { return true })
	nc.takesBack.Store(true)
	said := new(strings.Builder)
	run := func(args ...string) (int, string, string) {
		t.Helper()
		code, out, stderr := command(t, dir, nil, args...)
		fmt.Fprint(said, out, stderr)
		return code, out, stderr
	}
	if code, _, stderr := run("logout"); code != 1 || !strings.Contains(stderr, "no data") {
		t.Errorf("logout where nothing is = %d %s", code, stderr)
	}
	code, _, stderr := run("login", nc.URL+"/cloud")
	if code != 0 || !strings.Contains(stderr, "Data: ") || !strings.Contains(stderr, filepath.Join(filepath.Base(dir), localFolder)+", which is made once you have logged in") {
		t.Fatalf("login = %d %s, want the folder on standard error", code, stderr)
	}
	shows := func(user, want string) {
		t.Helper()
		code, out, stderr := run("users", "show", user)
		if text := strings.Join(strings.Fields(out), " "); code != 0 || !strings.HasSuffix(text, " login "+want) {
			t.Errorf("users show %s = %d %q %s, want the login %s", user, code, text, stderr, want)
		}
	}
	shows("me", "ann@nc at "+nc.URL+"/cloud")
	if code, out, stderr := run("logout"); code != 0 || out != "User me is logged out of "+nc.URL+"/cloud, as ann@nc.\n" || strings.Contains(stderr, "app password") || nc.returned.Load() != 1 {
		t.Errorf("logout = %d %q %s, and %d passwords were given back, want 1", code, out, stderr, nc.returned.Load())
	}
	shows("me", "-")
	if code, _, stderr := run("logout"); code != 1 || !strings.Contains(stderr, `user "me": the user is not logged in`) {
		t.Errorf("logout again = %d %s", code, stderr)
	}

	p := start(t, dir, nil, serveArgs...)
	ann := addUser(t, dir, "ann")
	client := p.mcp(stateless, ann)
	if text, failed := client.tool("listCalendars", nil); failed || !strings.Contains(text, "personal") {
		t.Fatalf("listCalendars = %s", text)
	}
	if code, _, stderr := run("login", nc.URL+"/cloud", "--user", "ann"); code != 0 || strings.Contains(stderr, "made now") {
		t.Fatalf("login beside a server = %d %s", code, stderr)
	}
	shows("ann", "ann@nc at "+nc.URL+"/cloud")
	if text, failed := client.tool("listCalendars", nil); !failed {
		t.Errorf("listCalendars of a Nextcloud that has none = %s", text)
	}
	nc.takesBack.Store(false)
	if code, out, stderr := run("logout", "--user", "ann"); code != 0 || !strings.Contains(out, "User ann is logged out") || !strings.Contains(stderr, "was not told") || !strings.Contains(stderr, "404") {
		t.Errorf("logout of a Nextcloud that does not listen = %d %q %s, want that and that it was not told", code, out, stderr)
	}
	if text, failed := client.tool("listCalendars", nil); failed || !strings.Contains(text, "personal") {
		t.Errorf("listCalendars after the logout = %s", text)
	}
	if code, _, stderr := run("logout", "--user", "nobody"); code != 1 || !strings.Contains(stderr, "no such user") {
		t.Errorf("logout of nobody = %d %s", code, stderr)
	}
	p.stop()
	if all := said.String() + p.stdout.String() + p.stderr.String(); strings.Contains(all, "app-p4ss") {
		t.Error("the app password is in the output")
	}
}

// TestLoginAgain gives back the passwords that nobody has any more.
func TestLoginAgain(t *testing.T) {
	dir := t.TempDir()
	nc := nextcloudServer(t, func() bool { return true })
	nc.fresh.Store(true)
	nc.takesBack.Store(true)
	run := func(want int32, left string, args ...string) {
		t.Helper()
		code, out, stderr := command(t, dir, nil, args...)
		if code != 0 || strings.Contains(stderr, "was not told") != (left != "") || !strings.Contains(stderr, left) || strings.Contains(out+stderr, "app-p4ss") {
			t.Errorf("%q = %d %s %s, want that %q is left over", args, code, out, stderr, left)
		}
		if got := nc.returned.Load(); got != want {
			t.Errorf("after %q %d passwords have been given back, want %d", args, got, want)
		}
	}
	run(0, "", "login", nc.URL+"/cloud")
	run(1, "", "login", nc.URL+"/cloud")
	addUser(t, dir, "ann")
	run(1, "", "login", nc.URL+"/cloud", "--user", "ann")
	run(2, "", "users", "remove", "ann")
	addUser(t, dir, "bob")
	run(2, "", "login", nc.URL+"/cloud", "--user", "bob")
	nc.takesBack.Store(false)
	run(2, "app password of the login before", "login", nc.URL+"/cloud", "--user", "bob")
	run(2, "user's app password", "users", "remove", "bob")
}

func TestLoginStops(t *testing.T) {
	polled := make(chan struct{}, 1)
	nc := nextcloudServer(t, func() bool {
		select {
		case polled <- struct{}{}:
		default:
		}
		return false
	})
	dir := t.TempDir()
	p := launch(t, dir, nil, "login", nc.URL+"/cloud")
	out := p.ready()
	<-polled
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-out
	if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), "stopped") {
		t.Errorf("login after SIGINT = %d %s, want 1 and that it stopped", code, p.stderr)
	}
	leavesNothing(t, dir)
}

func leavesNothing(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind (%v), want nothing", left, err)
	}
}

// TestFailedLogin has logins of which nothing comes, and of which nothing is left.
func TestFailedLogin(t *testing.T) {
	dir := t.TempDir()
	nc := nextcloudServer(t, func() bool { t.Error("a page to log in was made"); return true })
	for _, c := range []struct {
		env  string
		args []string
		code int
		want string
	}{
		{"", []string{nc.URL + "/nothing"}, 1, "this is no Nextcloud"},
		{"", []string{nc.URL + "/cloud", "--user", "ann"}, 1, "no such user"},
		{"", []string{nc.URL + "/cloud", "--store", "memory:"}, 2, "memory:"},
		{"PERDURE_KEY=short", []string{nc.URL + "/cloud"}, 1, "PERDURE_KEY"},
		{"", []string{nc.URL + "/cloud", "--data", "/proc/perdure"}, 1, "the data folder /proc/perdure can't be made"},
	} {
		if _, err := os.Stat("/proc/self"); err != nil && strings.Contains(c.want, "/proc") {
			continue
		}
		code, _, stderr := command(t, dir, []string{c.env}, append([]string{"login"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("login %q = %d %s, want %d with %q", c.args, code, stderr, c.code, c.want)
		}
		leavesNothing(t, dir)
	}
}
