// Package cyrustest runs a Cyrus IMAP server for tests: a calendar server that nobody here
// wrote and that does scheduling (RFC 6638). It lives in a temporary folder and
// listens on Unix sockets in it alone.
//
// Without Cyrus's programs, tests that ask for a server are skipped and say so.
package cyrustest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// URL is what clients call the server, by way of [Server.Transport].
	URL = "http://localhost"

	// Domain is that of the users' addresses: alice is alice@example.org.
	Domain = "example.org"

	programs = "/usr/lib/cyrus/bin" // Debian's
)

// Server is a running server. It ends with the test, or with the process of the tests,
// however that ends.
type Server struct{ dir string }

// Start starts a server with some users, who all have one password.
func Start(t testing.TB, password string, users ...string) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server")
	}
	for _, name := range []string{"master", "httpd", "imapd", "ctl_cyrusdb"} {
		if _, err := os.Stat(filepath.Join(programs, name)); err != nil {
			t.Skip("Cyrus is not installed (Debian packages cyrus-caldav and cyrus-imapd): scripts/test-deps.sh")
		}
	}
	dir, err := os.MkdirTemp("", "cyrus") // not t.TempDir: names of Unix sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Server{dir}
	if err := s.configure(); err != nil {
		t.Fatal(err)
	}
	if err := s.checkPasswords(t, password); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	for _, name := range users {
		s.IMAP(t, name, password) // the first login makes the mailbox, without which there are no calendars
	}
	return s
}

// configure writes the folders and files that the server wants.
func (s *Server) configure() error {
	owner, err := account()
	if err != nil {
		return err
	}
	for _, name := range []string{"conf/db", "conf/log", "conf/msg", "conf/proc", "conf/lock", "conf/socket", "conf/user", "conf/quota", "spool"} {
		if err := os.MkdirAll(filepath.Join(s.dir, name), 0o755); err != nil {
			return err
		}
	}
	config := strings.NewReplacer("DIR", s.dir, "BIN", programs, "USER", owner.Username)
	if err := os.WriteFile(s.config(), []byte(config.Replace(`configdirectory: DIR/conf
defaultpartition: default
partition-default: DIR/spool
cyrus_user: USER
admins: admin
httpmodules: caldav
allowplaintext: yes
sasl_mech_list: PLAIN
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: DIR/passwords
autocreate_quota: 0
unixhierarchysep: yes
caldav_historical_age: -1
calendar_user_address_set: `+Domain+"\n")), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(s.services(), []byte(config.Replace(`START {
	recover cmd="BIN/ctl_cyrusdb -C DIR/imapd.conf -r"
}
SERVICES {
	http cmd="BIN/httpd -C DIR/imapd.conf" listen="DIR/http" prefork=1
	imap cmd="BIN/imapd -C DIR/imapd.conf" listen="DIR/imap" prefork=1
}
EVENTS {
}
`)), 0o644); err != nil {
		return err
	}
	return chown(s.dir, owner)
}

func (s *Server) config() string   { return filepath.Join(s.dir, "imapd.conf") }
func (s *Server) services() string { return filepath.Join(s.dir, "cyrus.conf") }

// account is who the server runs as: this user, or cyrus instead of root, which it refuses
// to be.
func account() (*user.User, error) {
	if os.Getuid() == 0 {
		return user.Lookup("cyrus")
	}
	return user.Current()
}

func chown(dir string, owner *user.User) error {
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, uid, -1)
		}
		return err
	})
}

// checkPasswords is the server's saslauthd: four counted strings ask, one answers.
func (s *Server) checkPasswords(t testing.TB, password string) error {
	path := filepath.Join(s.dir, "passwords")
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answer(conn, password)
		}
	}()
	return os.Chmod(path, 0o777)
}

func answer(conn net.Conn, password string) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	var asked [4]string // user, password, service, realm
	for i := range asked {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		text := make([]byte, int(size[0])<<8|int(size[1]))
		if _, err := io.ReadFull(conn, text); err != nil {
			return
		}
		asked[i] = string(text)
	}
	word := "NO"
	if asked[1] == password {
		word = "OK"
	}
	conn.Write(append([]byte{0, byte(len(word))}, word...))
}

// start starts the server under a shell that stops it when this process is gone: its
// standard input is a pipe that ends then. The server has a session of its own, as it ends
// with its whole process group.
func (s *Server) start(t testing.TB) {
	t.Helper()
	const script = `trap : INT TERM HUP
setsid "$1/master" -C "$2/imapd.conf" -M "$2/cyrus.conf" -p "$2/pid" -L "$2/log" &
read -r line; kill -TERM $!; wait $!; rm -rf "$2"`
	cmd := exec.Command("/bin/sh", "-c", script, "sh", programs, s.dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if err := s.ready(time.Minute); err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		t.Fatalf("Cyrus does not start: %v: %s", err, log)
	}
}

// ready waits until both sockets take connections. The server says nothing by itself but to
// the system's log.
func (s *Server) ready(within time.Duration) error {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(within)
	for _, name := range []string{"http", "imap"} {
		for {
			conn, err := net.Dial("unix", filepath.Join(s.dir, name))
			if err == nil {
				conn.Close()
				break
			}
			select {
			case <-again.C:
			case <-deadline:
				return err
			}
		}
	}
	return nil
}

// Transport takes every request to the server, whatever its address.
func (s *Server) Transport() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(s.dir, "http"))
	}}
}

// IMAP logs in, gives commands, and returns what the server said.
func (s *Server) IMAP(t testing.TB, name, password string, commands ...string) string {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(s.dir, "imap"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	var all bytes.Buffer
	lines := bufio.NewScanner(io.TeeReader(conn, &all))
	lines.Scan()
	for i, command := range append([]string{fmt.Sprintf("LOGIN %s %s", name, password)}, commands...) {
		tag := fmt.Sprintf("a%d ", i)
		fmt.Fprint(conn, tag, command, "\r\n")
		for lines.Scan() && !strings.HasPrefix(lines.Text(), tag) {
		}
		if !strings.HasPrefix(lines.Text(), tag+"OK") {
			t.Fatalf("IMAP command %d: %s", i, lines.Text())
		}
	}
	return all.String()
}
