package pgstore

import (
	"context"
	"os"
	"testing"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/pgstore/pgtest"
	"github.com/perdure/perdure/store/storetest"
)

var ctx = context.Background()

// openAlone opens a standalone store, to be closed with the test.
func openAlone(t testing.TB, opts Options, databases ...string) *Store {
	t.Helper()
	opts.Standalone = true
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
	os.Exit(m.Run())
}

func TestContract(t *testing.T) {
	server := pgtest.Shared(t)
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		dsn := server.Database(t)
		return &storetest.Harness{
			Store:  openAlone(t, Options{}, dsn),
			Reopen: func(t *testing.T) store.Store { return openAlone(t, Options{}, dsn) },
		}
	})
}
