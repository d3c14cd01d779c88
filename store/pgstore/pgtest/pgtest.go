// Package pgtest runs PostgreSQL for tests: a real server of their own, in a
// temporary folder and on a free port of the loopback interface.
//
// Without PostgreSQL's programs, tests that ask for a server are skipped and say so.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Superuser is the role that tests connect as, Password its password.
const (
	Superuser = "perdure"
	Password  = "correct-horse"
)

// Server is a PostgreSQL server. It ends with the process of the tests, however that
// ends, and its folder with it.
type Server struct {
	Dir  string // of the data
	Port int
	bin  string // folder of the programs

	supervisor *exec.Cmd
	stdin      io.Closer
	databases  atomic.Int64
}

var (
	sharedOnce sync.Once
	shared     *Server
	sharedErr  error
)

// Shared returns the server that all tests of the process use, and starts it for the
// first. It is not to be stopped: tests that do so ask [New] for one of their own.
func Shared(t testing.TB) *Server {
	t.Helper()
	sharedOnce.Do(func() { shared, sharedErr = start(nil) })
	if errors.Is(sharedErr, errMissing) {
		t.Skip(sharedErr)
	}
	if sharedErr != nil {
		t.Fatal(sharedErr)
	}
	return shared
}

// New starts a server with settings (name=value) in addition to ours. It is stopped
// when the test ends.
func New(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(settings)
	if errors.Is(err, errMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

var errMissing = errors.New("pgtest: PostgreSQL's programs initdb and pg_ctl are not there: tests against PostgreSQL are left out (scripts/test-deps.sh installs it)")

// programs returns the folder of the newest server's programs.
func programs() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // Debian's, not in the path
	slices.SortFunc(dirs, func(a, b string) int { return version(b) - version(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, dir := range dirs {
		_, err1 := os.Stat(filepath.Join(dir, "initdb"))
		_, err2 := os.Stat(filepath.Join(dir, "pg_ctl"))
		if err1 == nil && err2 == nil {
			return dir, nil
		}
	}
	return "", errMissing
}

func version(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

// start makes a database cluster and starts it.
func start(settings []string) (s *Server, err error) {
	s = new(Server)
	if s.bin, err = programs(); err != nil {
		return nil, err
	}
	base, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(base)
		}
	}()
	if err := own(base); err != nil {
		return nil, err
	}
	s.Dir = filepath.Join(base, "data")
	secret := filepath.Join(base, "password")
	if err := os.WriteFile(secret, []byte(Password+"\n"), 0o644); err != nil {
		return nil, err
	}
	// What initdb writes need not survive; what the server writes is synced.
	if err := s.run("initdb", "-D", s.Dir, "-U", Superuser, "-A", "scram-sha-256", "--pwfile="+secret, "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return nil, err
	}
	conf, err := os.OpenFile(filepath.Join(s.Dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer conf.Close()
	for _, line := range append([]string{
		"listen_addresses='127.0.0.1'", "unix_socket_directories=''",
		"fsync=on", "synchronous_commit=on", "full_page_writes=on",
		"max_connections=200", "shared_buffers=128MB", "max_wal_size=2GB",
		"log_line_prefix='%m [%p] '", "logging_collector=off",
	}, settings...) {
		fmt.Fprintln(conf, line)
	}
	// Another process may take the port in between.
	for try := 0; ; try++ {
		if s.Port, err = freePort(); err != nil {
			return nil, err
		}
		if err = s.Start(); err == nil {
			break
		}
		if try == 4 {
			return nil, err
		}
	}
	if err := s.supervise(base); err != nil {
		s.Stop("immediate")
		return nil, err
	}
	return s, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// supervise starts a shell that stops the server when this process is gone: its
// standard input is a pipe that ends then.
func (s *Server) supervise(base string) error {
	const script = `read -r line; "$1/pg_ctl" -D "$2" -m immediate -t 10 stop; rm -rf "$3"`
	s.supervisor = exec.Command("/bin/sh", "-c", script, "sh", s.bin, s.Dir, base)
	asServer(s.supervisor)
	in, err := s.supervisor.StdinPipe()
	if err != nil {
		return err
	}
	s.stdin = in
	return s.supervisor.Start()
}

// end stops the server for good.
func (s *Server) end() {
	s.stdin.Close()
	s.supervisor.Wait() // it stops a server that may be stopped already
	os.RemoveAll(filepath.Dir(s.Dir))
}

// run runs one of PostgreSQL's programs as the user of the server.
func (s *Server) run(name string, args ...string) error {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	asServer(cmd)
	// To a file: what is started in the background would keep a pipe open.
	out, err := os.CreateTemp("", "pgtest")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("pgtest: %s: %w: %s", name, err, text)
	}
	return nil
}

// AsServer has a command run as the user that the server runs as, and gives it a folder.
func (s *Server) AsServer(cmd *exec.Cmd, dir string) error {
	asServer(cmd)
	for _, path := range []string{dir, filepath.Dir(dir)} { // as far as t.TempDir makes them
		if err := os.Chmod(path, 0o755); err != nil {
			return err
		}
	}
	return own(dir)
}

// Start starts the server after Stop, on the same port, and waits until it takes
// connections.
func (s *Server) Start() error {
	log := filepath.Join(filepath.Dir(s.Dir), "log")
	err := s.run("pg_ctl", "-D", s.Dir, "-l", log, "-w", "-t", "60", "-o", "-p "+strconv.Itoa(s.Port), "start")
	if err != nil {
		text, _ := os.ReadFile(log)
		return fmt.Errorf("%w: %s", err, text)
	}
	return nil
}

// Stop stops the server: mode fast as an administrator would, mode immediate like a crash.
func (s *Server) Stop(mode string) error {
	return s.run("pg_ctl", "-D", s.Dir, "-m", mode, "-t", "60", "-w", "stop")
}

// Log returns what the server wrote to its log.
func (s *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(filepath.Dir(s.Dir), "log"))
	return string(text)
}

// Addr returns host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// DSN returns the address of a database of this server, as seen at addr: the server's
// own, or that of a [Proxy].
func (s *Server) DSN(addr, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(Superuser, Password), Host: addr, Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

// NewDatabase makes an empty database and returns its name.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	s.Exec(t, "postgres", "CREATE DATABASE "+name)
	return name
}

// Database makes an empty database and returns its address.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return s.DSN(s.Addr(), s.NewDatabase(t))
}

// Connect connects to a database of the server until the test ends.
func (s *Server) Connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN(s.Addr(), database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// Exec runs statements, without parameters, in a database of the server.
func (s *Server) Exec(t testing.TB, database, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN(s.Addr(), database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", strings.TrimSpace(sql), err)
	}
}
