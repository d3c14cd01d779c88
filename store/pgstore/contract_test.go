package pgstore

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/pgstore/pgtest"
	"github.com/perdure/perdure/store/storetest"
)

var ctx = context.Background()

// openAlone opens a standalone store, to be closed with the test.
func openAlone(t testing.TB, opts Options, databases ...string) *Store {
	t.Helper()
	opts.Standalone = true
	return open(t, opts, databases...)
}

func open(t testing.TB, opts Options, databases ...string) *Store {
	t.Helper()
	if opts.Shards == 0 {
		opts.Shards = 16
	}
	s, err := Open(ctx, databases, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestMain(m *testing.M) {
	storetest.Child(openKilled)
	os.Exit(m.Run())
}

func TestContract(t *testing.T) {
	server := pgtest.Shared(t)
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		name := server.NewDatabase(t)
		proxy := pgtest.NewProxy(t, server.Addr())
		dsn := server.DSN(proxy.Addr, name)
		opts := Options{Lease: 30 * time.Second, Patience: 200 * time.Millisecond}
		s := openAlone(t, opts, dsn)
		return &storetest.Harness{
			Store:  s,
			Reopen: func(t *testing.T) store.Store { return openAlone(t, opts, dsn) },
			Refuse: func(o store.Object) { refuseNext(t, server, name, o) },
			Fail: func(kind storetest.Fault, k int) {
				switch kind {
				case storetest.WriteError: // statements do not arrive
					cutCommits(proxy, k, 'B', pgtest.Drop)
				case storetest.SyncError: // they do, but nobody hears of it
					cutCommits(proxy, k, 'S', pgtest.Last)
				case storetest.DiskFull:
					server.Exec(t, name, fmt.Sprintf(diskFull, k))
				}
			},
			Heal: func() {
				proxy.Heal()
				server.Exec(t, name, `DROP TRIGGER IF EXISTS full_disk ON perdure.keys`)
			},
		}
	})
}

// diskFull makes the statements after the first ones fail as with a full disk.
const diskFull = `
CREATE SEQUENCE IF NOT EXISTS public.statements;
SELECT setval('public.statements', 1, false);
CREATE OR REPLACE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF nextval('public.statements') > %d THEN RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END IF;
	RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER full_disk BEFORE INSERT ON perdure.keys EXECUTE FUNCTION public.full_disk();`

// cutCommits cuts the connection at a message of each commit after the k-th, and keeps
// all connections from being made from then on.
func cutCommits(proxy *pgtest.Proxy, k int, at byte, fate pgtest.Fate) {
	commits, committing := 0, map[int]bool{}
	proxy.Hook(func(m pgtest.Message) pgtest.Fate {
		if commits > k {
			return pgtest.Drop
		}
		if m.Type == 'B' { // the names of portal and statement begin a Bind
			committing[m.Conn] = bytes.HasPrefix(m.Body, []byte("\x00"+commitName))
		}
		if m.Type == at && committing[m.Conn] {
			if commits++; commits > k {
				return fate
			}
		}
		return pgtest.Pass
	})
}

// refuseNext has the database refuse the next batch with a key of an object, as it
// refuses a key that is too long for an index.
func refuseNext(t *testing.T, server *pgtest.Server, name string, o store.Object) {
	key := objectKey(o)
	server.Exec(t, name, fmt.Sprintf(`
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF NEW.object = '\x%x' AND NEW.value = 'lost' THEN RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation'; END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON perdure.keys FOR EACH ROW EXECUTE FUNCTION public.refuse();`, key[:]))
}

func openKilled(dsn string) (store.Store, error) {
	return Open(ctx, []string{dsn}, &Options{Standalone: true, Shards: 16, Lease: 6 * time.Second})
}

// The process is killed under load, again and again. Its lease has to be waited out.
func TestKill(t *testing.T) {
	server := pgtest.Shared(t)
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	storetest.Kill(t, server.Database(t), rounds, openKilled)
}
