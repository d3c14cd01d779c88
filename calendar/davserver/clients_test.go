package davserver

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Clients that nobody here wrote: programs of the Debian packages vdirsyncer, calcurse and
// python3-caldav, against a server on loopback that asks for a password.

// listen serves s on loopback with Basic auth: user alice, password secret.
func (s *testServer) listen() string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, ok := r.BasicAuth()
		if !ok || name != "alice" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test", charset="UTF-8"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.ServeHTTP(w, r.WithContext(WithUser(r.Context(), s.user)))
	}))
	s.t.Cleanup(srv.Close)
	return srv.URL
}

// program runs a program in a home of its own and returns what it says.
func program(t *testing.T, home, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin", // Debian's own Python, which has the modules
		"LANG=C.UTF-8", "CALCURSE_CALDAV_PASSWORD=secret"}
	cmd.Stdin = strings.NewReader(strings.Repeat("y\n", 20))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, &out)
	}
	return out.String()
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func event(uid string, lines ...string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Test//EN\r\nBEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20260101T000000Z\r\n" +
		strings.Join(lines, "\r\n") + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
}

const calendarPath = "/dav/calendars/alice/work/"

func (s *testServer) mkcalendar() {
	s.t.Helper()
	s.must(201, "MKCALENDAR", calendarPath, "")
}

func TestVdirsyncer(t *testing.T) {
	s := newTestServer(t, nil)
	url := s.listen()
	s.mkcalendar()
	s.must(201, "PUT", calendarPath+"a.ics", event("a", "DTSTART:20260310T090000Z", "DTEND:20260310T100000Z", "SUMMARY:From the server"))
	home := t.TempDir()
	writeFile(t, home+"/local/work/b.ics", event("b", "DTSTART:20260311T090000Z", "SUMMARY:From here", "X-KEEP;X-P=q:me"))
	conf := home + "/config"
	writeFile(t, conf, fmt.Sprintf(`[general]
status_path = "%s/status"
[pair p]
a = "here"
b = "there"
collections = ["from a", "from b"]
metadata = ["displayname", "color"]
conflict_resolution = "b wins"
[storage here]
type = "filesystem"
path = "%s/local"
fileext = ".ics"
[storage there]
type = "caldav"
url = "%s/"
username = "alice"
password = "secret"
`, home, home, url))
	run := func(args ...string) {
		t.Helper()
		t.Log(program(t, home, "vdirsyncer", append([]string{"-c", conf}, args...)...))
	}
	run("discover")
	run("sync")
	if text := localFile(t, home+"/local/work", "UID:a\r\n"); !strings.Contains(text, "From the server") {
		t.Errorf("the server's event did not arrive: %q", text)
	}
	if got := s.data("b"); !strings.Contains(got, "X-KEEP;X-P=q:me") {
		t.Errorf("the local event did not arrive whole: %q", got)
	}

	// Both sides change, one deletes; a new collection appears here.
	s.must(204, "PUT", calendarPath+"a.ics", event("a", "DTSTART:20260310T090000Z", "SUMMARY:Changed there"))
	if err := os.Remove(home + "/local/work/b.ics"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, home+"/local/fresh/c.ics", event("c", "DTSTART;VALUE=DATE:20260312", "SUMMARY:New collection"))
	run("discover")
	run("sync")
	run("metasync")
	if text := localFile(t, home+"/local/work", "UID:a\r\n"); !strings.Contains(text, "Changed there") {
		t.Errorf("the change did not arrive: %q", text)
	}
	if got := s.data("b"); got != "" {
		t.Errorf("the deleted event is still there: %q", got)
	}
	if w := s.send("PROPFIND", "/dav/calendars/alice/fresh/", "", "Depth", "1"); !strings.Contains(w.Body.String(), ".ics") {
		t.Errorf("the new collection is empty: %s", w.Body)
	}
}

// localFile returns the file in dir that holds a text.
func localFile(t *testing.T, dir, text string) string {
	t.Helper()
	files, _ := filepath.Glob(dir + "/*.ics")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), text) {
			return string(data)
		}
	}
	return ""
}

// data returns the object of the calendar work that has a UID, "" if there is none.
func (s *testServer) data(uid string) string {
	s.t.Helper()
	found := ""
	stub := s.stub("work")
	var names []string
	err := s.eachObject(s.t.Context(), stub, func(o *object) error { names = append(names, o.Name); return nil })
	if err == nil {
		err = readEach(s.t.Context(), stub, names, true, func(_ string, o *object) error {
			if o.Record.UID == uid {
				found = string(o.Data)
			}
			return nil
		})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

func TestCalcurse(t *testing.T) {
	if out, err := exec.Command("/usr/bin/python3", "-c", "import httplib2").CombinedOutput(); err != nil {
		t.Skipf("python3-httplib2, which calcurse-caldav needs, is not installed: %s", out)
	}
	s := newTestServer(t, nil)
	url := s.listen()
	s.mkcalendar()
	s.must(201, "PUT", calendarPath+"a.ics", event("a", "DTSTART:20260310T090000Z", "DTEND:20260310T100000Z", "SUMMARY:From the server"))
	home := t.TempDir()
	dir := home + "/.calcurse"
	writeFile(t, dir+"/conf", "")
	writeFile(t, dir+"/apts", "03/11/2026 @ 09:00 -> 03/11/2026 @ 10:00 |From calcurse\n")
	writeFile(t, dir+"/todo", "")
	writeFile(t, dir+"/caldav/config", fmt.Sprintf(`[General]
Binary = calcurse
Hostname = %s
Path = %s
AuthMethod = basic
InsecureSSL = Yes
HTTPS = No
DryRun = No
SyncFilter = cal,todo
Verbose = Yes
[Auth]
Username = alice
Password = secret
`, strings.TrimPrefix(url, "http://"), calendarPath))
	sync := func(args ...string) {
		t.Helper()
		args = append([]string{"--config", dir + "/caldav/config", "--syncdb", dir + "/caldav/sync.db", "--lockfile", dir + "/caldav/lock", "--datadir", dir, "--hookdir", dir + "/hooks"}, args...)
		t.Log(program(t, home, "calcurse-caldav", args...))
	}
	sync("--init", "two-way")
	apts, err := os.ReadFile(dir + "/apts")
	if err != nil || !strings.Contains(string(apts), "From the server") {
		t.Errorf("the server's event did not arrive: %q, %v", apts, err)
	}
	if !s.hasSummary("From calcurse") {
		t.Error("calcurse's appointment did not arrive")
	}
	s.must(204, "DELETE", calendarPath+"a.ics", "")
	sync()
	if apts, err = os.ReadFile(dir + "/apts"); err != nil || strings.Contains(string(apts), "From the server") {
		t.Errorf("the event deleted on the server is still in calcurse: %q, %v", apts, err)
	}
}

func (s *testServer) hasSummary(text string) bool {
	s.t.Helper()
	w := s.must(207, "REPORT", calendarPath, `<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/></D:prop><C:filter>
<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:prop-filter name="SUMMARY"><C:text-match>`+text+`</C:text-match></C:prop-filter></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`, "Depth", "1")
	return strings.Contains(w.Body.String(), "<D:response>")
}

func TestPythonCaldav(t *testing.T) {
	if out, err := exec.Command("/usr/bin/python3", "-c", "import caldav").CombinedOutput(); err != nil {
		t.Skipf("python3-caldav is not installed: %s", out)
	}
	s := newTestServer(t, nil)
	url := s.listen()
	script, err := filepath.Abs("testdata/client.py")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(program(t, t.TempDir(), "/usr/bin/python3", script, url+"/dav/", "alice", "secret"))
}
