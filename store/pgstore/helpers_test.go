package pgstore

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/pgstore/pgtest"
)

// testStore is a store in a database of its own, with ways to disturb it.
type testStore struct {
	*Store
	t      *testing.T
	server *pgtest.Server
	proxy  *pgtest.Proxy
	name   string // of the database
	db     *pgx.Conn
	node   int64
}

// newStore opens a clustered store, through a proxy, that holds all its shards.
func newStore(t *testing.T, opts Options) *testStore {
	t.Helper()
	server := pgtest.Shared(t)
	return joinStore(t, opts, server, server.NewDatabase(t))
}

// joinStore is newStore in a database that may be in use. Shards are held only if nobody
// else holds them.
func joinStore(t *testing.T, opts Options, server *pgtest.Server, name string) *testStore {
	t.Helper()
	if opts.Lease == 0 {
		opts.Lease = 30 * time.Second
	}
	s := &testStore{t: t, server: server, proxy: pgtest.NewProxy(t, server.Addr()), name: name}
	s.Store = open(t, opts, server.DSN(s.proxy.Addr, name))
	s.db = server.Connect(t, name)
	s.join()
	return s
}

// join registers the store as a new incarnation and takes what nobody holds.
func (s *testStore) join() {
	s.t.Helper()
	d := s.dbs[0]
	n, err := d.Register(ctx, "test", "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.node = n.ID
	s.take(s.d().Shards()...)
}

func (s *testStore) d() *Database { return s.dbs[0] }

// take takes over those of the shards that nobody holds.
func (s *testStore) take(shards ...uint32) {
	s.t.Helper()
	taken, err := s.d().TakeOver(ctx, s.node, s.epochs(shards...))
	if err != nil {
		s.t.Fatal(err)
	}
	for n, epoch := range taken {
		s.Hold(n, epoch)
	}
}

// epochs returns the epochs that shards have in the database.
func (s *testStore) epochs(shards ...uint32) map[uint32]int64 {
	s.t.Helper()
	v, err := s.d().ReadMap(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[uint32]int64{}
	for _, st := range v.Shards {
		all[st.Shard] = st.Epoch
	}
	epochs := map[uint32]int64{}
	for _, n := range shards {
		epochs[n] = all[n]
	}
	return epochs
}

// in returns an object of a shard; n tells several of them apart.
func (s *Store) in(shard uint32, n int) store.Object {
	for i := 0; ; i++ {
		o := store.Object{Namespace: 1, ID: [32]byte{byte(i), byte(i >> 8), byte(i >> 16)}}
		if s.ShardOf(o) != shard {
			continue
		}
		if n == 0 {
			return o
		}
		n--
	}
}

// set starts a commit that writes one key of an object that exists.
func (s *Store) set(o store.Object, key, value string) store.Commit {
	return s.Apply(&store.Batch{Object: o, Prev: testHeader, Header: testHeader, Ops: []store.Op{{Key: key, Value: []byte(value)}}})
}

var testHeader = &store.Header{Size: 1}

// create makes an object.
func (s *testStore) create(o store.Object) {
	s.t.Helper()
	if err := s.Apply(&store.Batch{Object: o, Header: testHeader}).Wait(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *testStore) want(o store.Object, key, want string) {
	s.t.Helper()
	got, err := s.Get(ctx, o, key)
	if err != nil || string(got[0]) != want {
		s.t.Errorf("Get(%q) = %q, %v, want %q", key, got, err, want)
	}
}

func (s *testStore) exec(sql string, args ...any) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := s.db.Exec(ctx, sql, args...); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for a condition in the database.
func (s *testStore) until(what, sql string, args ...any) {
	s.t.Helper()
	until(s.t, what, func() bool {
		var ok bool
		if err := s.db.QueryRow(ctx, "SELECT ("+sql+")::bool FROM pg_sleep(0.01)", args...).Scan(&ok); err != nil {
			s.t.Fatal(err)
		}
		return ok
	})
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); {
		if time.Now().After(end) {
			t.Fatalf("it did not happen within a minute: %s", what)
		}
	}
}

// blockKeys makes statements that write the key "slow" wait, while they hold their fences,
// until the function that is returned is called.
func (s *testStore) blockKeys() (release func()) {
	s.t.Helper()
	s.exec(`CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.key = 'slow' THEN PERFORM pg_advisory_xact_lock_shared(42); END IF;
		RETURN NEW; END $$`)
	s.exec(`CREATE TRIGGER wait BEFORE INSERT ON perdure.keys FOR EACH ROW EXECUTE FUNCTION public.wait()`)
	s.exec(`SELECT pg_advisory_lock(42)`)
	return func() { s.t.Helper(); s.exec(`SELECT pg_advisory_unlock(42)`) }
}

const (
	blocked   = `SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`
	rowWaiter = `SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event <> 'advisory'`
)

// atCommit has the proxy deal with the commits that a function chooses, by their number
// from 1, as they are complete.
func (s *testStore) atCommit(fate func(n int) pgtest.Fate) {
	n, committing := 0, map[int]bool{}
	s.proxy.Hook(func(m pgtest.Message) pgtest.Fate {
		if m.IsCancel() {
			return pgtest.Drop // it would often come in time to end the statement
		}
		if m.Type == 'B' {
			committing[m.Conn] = bytes.HasPrefix(m.Body, []byte("\x00"+commitName))
		}
		if m.Type != 'S' || !committing[m.Conn] {
			return pgtest.Pass
		}
		committing[m.Conn] = false
		n++
		return fate(n)
	})
}

func wantRefused(t *testing.T, what string, c store.Commit) {
	t.Helper()
	if err := c.Wait(); !errors.Is(err, store.ErrRefused) {
		t.Errorf("Wait() of %s = %v, want ErrRefused", what, err)
	}
}

func wantDone(t *testing.T, what string, c store.Commit) {
	t.Helper()
	if err := c.Wait(); err != nil {
		t.Errorf("Wait() of %s = %v", what, err)
	}
}

func pendingCommit(c store.Commit) bool { return !c.(*commit).ended() }
