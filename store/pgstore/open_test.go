package pgstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/pgstore/pgtest"
)

// wantOpen opens a store that has to fail with an error that says what is wrong.
func wantOpen(t *testing.T, want string, opts *Options, databases ...string) error {
	t.Helper()
	s, err := Open(ctx, databases, opts)
	if err == nil {
		s.Close()
		t.Errorf("Open succeeded, want an error with %q", want)
		return nil
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("Open = %q, want %q in it", err, want)
	}
	if strings.Contains(err.Error(), pgtest.Password) {
		t.Errorf("Open = %q: the password is in it", err)
	}
	return err
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		opts Options
		want string
	}{
		{Options{Shards: 1<<16 + 1}, "Options.Shards is 65537, but should be from 1 to 65536"},
		{Options{Shards: -1}, "Options.Shards is -1"},
		{Options{Committers: 65}, "Options.Committers is 65"},
		{Options{Lease: time.Millisecond}, "Options.Lease is 1ms"},
	} {
		wantOpen(t, test.want, &test.opts, "postgres://localhost/x")
	}
	wantOpen(t, "0 databases", nil)
}

// A server that would lose what it has confirmed is refused, and one that takes no writes.
func TestUnsafeServers(t *testing.T) {
	t.Run("fsync", func(t *testing.T) {
		s := pgtest.New(t, "fsync=off")
		wantOpen(t, "fsync=off", nil, s.Database(t))
	})
	server := pgtest.Shared(t)
	name := server.NewDatabase(t)
	dsn := server.DSN(server.Addr(), name)
	server.Exec(t, name, "ALTER DATABASE "+name+" SET synchronous_commit = off")
	wantOpen(t, "synchronous_commit=off", nil, dsn)
	wantOpen(t, "synchronous_commit=off", nil, server.Database(t)+"&synchronous_commit=off")
	server.Exec(t, name, "ALTER DATABASE "+name+" SET synchronous_commit = on")
	s := open(t, Options{}, dsn)
	s.Close()
	t.Run("replica", func(t *testing.T) {
		s := pgtest.New(t)
		dsn := s.Database(t)
		must(t, s.Stop("fast"))
		must(t, os.WriteFile(filepath.Join(s.Dir, "standby.signal"), nil, 0o644))
		must(t, s.Start())
		wantOpen(t, "takes no writes: it is a replica", nil, dsn)
	})
}

// Many processes that make a store at once make one.
func TestMadeOnce(t *testing.T) {
	server := pgtest.Shared(t)
	list := []string{server.Database(t), server.Database(t)}
	ids := make([]string, 6)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			s, err := Open(ctx, list, &Options{Shards: 4 + i})
			if err != nil {
				t.Errorf("Open = %v", err)
				return
			}
			defer s.Close()
			ids[i] = fmt.Sprint(s.ID(), s.Shards())
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("stores %q were made", ids)
			break
		}
	}
}

// The list of databases is the one that the store was made with, wherever they are.
func TestList(t *testing.T) {
	server := pgtest.Shared(t)
	a, b, c := server.Database(t), server.Database(t), server.Database(t)
	first := open(t, Options{}, a, b)
	first.Close()
	open(t, Options{}, c).Close()
	wantOpen(t, "the order of the list", nil, b, a)
	wantOpen(t, "made over 2 databases, but 1 are given", nil, a)
	wantOpen(t, "made over 1 databases, but 2 are given", nil, a, c)
	wantOpen(t, "made over 1 databases, but 2 are given", nil, c, b)
	wantOpen(t, "it is empty", nil, a, server.Database(t))
	// An empty one in the first place makes no second store of what is there.
	wantOpen(t, "belongs to the store "+first.ID(), nil, server.Database(t), b)
	twice := open(t, Options{}, server.Database(t), server.Database(t))
	twice.Close()
	wantOpen(t, "belongs to the store", nil, a, server.DSN(server.Addr(), databaseOf(twice.dbs[1].config.ConnString())))

	// Moved: another way to the same database.
	moved := open(t, Options{}, a, server.DSN(pgtest.NewProxy(t, server.Addr()).Addr, databaseOf(b)))
	if moved.ID() != first.ID() {
		t.Errorf("the store is %s at another address, want %s", moved.ID(), first.ID())
	}
}

// An address that leads to another database than before is noticed with the first
// connection there.
func TestAnotherDatabaseLater(t *testing.T) {
	s := newStore(t, Options{Patience: time.Millisecond})
	o := s.in(1, 0)
	s.create(o)
	other := s.server.NewDatabase(t)
	open(t, Options{}, s.server.DSN(s.server.Addr(), other)).Close()
	s.proxy.Cut()
	s.db.Close(ctx)
	s.server.Exec(t, "postgres", "ALTER DATABASE "+s.name+" RENAME TO "+s.name+"_away")
	s.server.Exec(t, "postgres", "ALTER DATABASE "+other+" RENAME TO "+s.name)
	s.proxy.Heal()
	for range 2 { // the first finds its connection broken
		if err := s.set(o, "k", "v").Wait(); err == nil {
			t.Error("a commit to another database succeeded")
		}
	}
	_, err := s.Load(ctx, o)
	if err == nil || !strings.Contains(err.Error(), "its address leads to another database") {
		t.Errorf("Load = %v, want an error that says so", err)
	}
}

// A schema of a newer version is not touched.
func TestNewerSchema(t *testing.T) {
	server := pgtest.Shared(t)
	name := server.NewDatabase(t)
	dsn := server.DSN(server.Addr(), name)
	open(t, Options{}, dsn).Close()
	server.Exec(t, name, "UPDATE perdure.store SET format = 99")
	if err := wantOpen(t, "its schema has version 99, this program knows", nil, dsn); !errors.Is(err, store.ErrNewerFormat) {
		t.Errorf("Open = %v, want ErrNewerFormat", err)
	}
}

// Another process that is alive keeps a standalone one out; one that is gone does not.
func TestStandaloneInUse(t *testing.T) {
	server := pgtest.Shared(t)
	dsn := server.Database(t)
	lease := Options{Lease: 2 * time.Second}
	var begun, renewed atomic.Int64
	opts := lease
	opts.Renewing = func(database int) func() {
		begun.Add(1)
		return func() { renewed.Add(1) }
	}
	first := openAlone(t, opts, dsn)
	if renewed.Load() < 1 {
		t.Error("the lease that Open begins with was not told")
	}
	until(t, "a renewal is told", func() bool { return renewed.Load() > 1 })
	opts = lease
	opts.Standalone = true
	if err := wantOpen(t, "held by node standalone", &opts, dsn); !errors.Is(err, store.ErrInUse) {
		t.Errorf("Open = %v, want ErrInUse", err)
	}
	o := first.in(1, 0)
	if err := first.Apply(&store.Batch{Object: o, Header: testHeader}).Wait(); err != nil {
		t.Errorf("Wait() of the first process = %v", err)
	}
	// It stops renewing, as if paused.
	first.alone.cancel()
	for _, done := range first.alone.done {
		<-done
	}
	second := openAlone(t, lease, dsn)
	if err := first.set(o, "k", "stale").Wait(); !errors.Is(err, store.ErrRefused) {
		t.Errorf("Wait() of the process whose lease ran out = %v, want ErrRefused", err)
	}
	// When it wakes it finds out, and nothing more is read from it.
	sent, told := begun.Load(), renewed.Load()
	first.alone.keepOnce(ctx, first.dbs[0], first.alone.nodes[0])
	if begun.Load() != sent+1 || renewed.Load() != told {
		t.Errorf("a renewal that failed: %d begun, %d told, want 1 and 0", begun.Load()-sent, renewed.Load()-told)
	}
	if _, err := first.Load(ctx, o); !errors.Is(err, store.ErrBroken) {
		t.Errorf("Load of that process = %v, want ErrBroken", err)
	}
	if err := first.set(o, "k", "stale").Wait(); !errors.Is(err, store.ErrBroken) {
		t.Errorf("Wait() of that process = %v, want ErrBroken", err)
	}
	if err := second.set(o, "k", "v").Wait(); err != nil {
		t.Errorf("Wait() of the second process = %v", err)
	}
}

// A password is in no error and no line of the log.
func TestPasswordIsNowhere(t *testing.T) {
	server := pgtest.Shared(t)
	var log bytes.Buffer
	var mu sync.Mutex
	logger := slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))
	good := server.Database(t)
	for _, dsn := range []string{
		strings.Replace(good, "127.0.0.1:", "127.0.0.1:port", 1),
		strings.Replace(good, "postgres://", "postgres:///", 1) + "%zz",
		strings.Replace(good, "sslmode=disable", "sslmode=verify-nothing", 1),
		"host=127.0.0.1 password=" + pgtest.Password + " port=x",
		"password='" + pgtest.Password,
		strings.Replace(good, "/test", "/missing", 1),
		strings.Replace(good, "perdure:", "nobody:", 1),
		strings.Replace(good, server.Addr(), "127.0.0.1:1", 1),
	} {
		wantOpen(t, "database 0", &Options{Logger: logger}, dsn)
	}
	proxy := pgtest.NewProxy(t, server.Addr())
	s := openAlone(t, Options{Logger: logger, Patience: time.Millisecond, Lease: 30 * time.Second}, server.DSN(proxy.Addr, databaseOf(good)))
	proxy.Cut()
	wantRefused(t, "a commit without a connection", s.Apply(&store.Batch{Object: s.in(1, 0), Header: testHeader}))
	if _, err := s.Load(ctx, s.in(1, 0)); err == nil || strings.Contains(err.Error(), pgtest.Password) {
		t.Errorf("Load without a connection = %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(log.String(), pgtest.Password) {
		t.Errorf("the password is in the log: %s", log.String())
	}
}

// databaseOf returns the name of the database in an address.
func databaseOf(dsn string) string {
	name, _, _ := strings.Cut(dsn[strings.LastIndex(dsn, "/")+1:], "?")
	return name
}

type locked struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// PgBouncer does not pass on the settings of a session: it is refused, and the error says
// why, whether it objects to them or swallows them.
func TestPgBouncer(t *testing.T) {
	server := pgtest.Shared(t)
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program = "/usr/sbin/pgbouncer"; !exists(program) {
			t.Skip("PgBouncer is not there: the test of it is left out (scripts/test-deps.sh installs it)")
		}
	}
	for name, extra := range map[string]string{
		"objects":  "",
		"swallows": "ignore_startup_parameters = " + strings.Join([]string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "tcp_user_timeout", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "default_transaction_isolation", "default_transaction_read_only", "client_min_messages", "search_path", "plan_cache_mode", "enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "jit"}, ","),
	} {
		t.Run(name, func(t *testing.T) {
			addr := startPgBouncer(t, program, server, extra)
			wantOpen(t, "PgBouncer in transaction mode", nil, server.DSN(addr, server.NewDatabase(t)))
		})
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func startPgBouncer(t *testing.T, program string, server *pgtest.Server, extra string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	ini, users := filepath.Join(dir, "pgbouncer.ini"), filepath.Join(dir, "users")
	os.WriteFile(users, []byte(fmt.Sprintf("%q %q\n", pgtest.Superuser, pgtest.Password)), 0o644)
	os.WriteFile(ini, []byte(fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = plain
auth_file = %s
pool_mode = transaction
%s
`, server.Port, port, users, extra)), 0o644)
	cmd := exec.Command(program, ini)
	if err := server.AsServer(cmd, dir); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	var mu sync.Mutex
	cmd.Stderr = locked{&mu, &log}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-exited
	})
	until(t, "PgBouncer listens", func() bool {
		select {
		case <-exited:
			t.Fatalf("PgBouncer has ended: %s", log.String())
		default:
		}
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr
}
