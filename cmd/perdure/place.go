package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/cluster"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
	"github.com/perdure/perdure/store/pebblestore"
	"github.com/perdure/perdure/store/pgstore"
)

// place is where data is. The store's lock is the folder's: who holds it may make key
// and socket.
type place struct {
	dir       string   // of the key and the socket; "" where there is none
	store     string   // of the engine
	databases []string // of PostgreSQL
}

// memoryStore is the --store of data that is gone when the process ends.
const memoryStore = "memory:"

// place finds out what --data and --store say.
func (f *dataFlags) place() (place, error) {
	if f.Store == "" {
		return place{dir: f.Data, store: filepath.Join(f.Data, "store")}, nil
	}
	kind, rest, found := strings.Cut(f.Store, ":")
	switch {
	case !found:
	case f.Store == memoryStore:
		return place{}, nil
	case kind == "pebble" && rest != "":
		return place{dir: rest, store: rest}, nil
	case isPostgres(f.Store):
		dir := f.Data
		if dir == "" {
			dir = localFolder
		}
		return place{dir: dir, databases: splitDatabases(f.Store)}, nil
	}
	return place{}, usageError(fmt.Sprintf("--store %.200q: must be memory:, pebble:DIR or postgres://…", unsecret(f.Store)))
}

// unsecret returns what was given for a store without what may be a password, where it is
// none of those that are known.
func unsecret(text string) string {
	begin, rest, found := strings.Cut(text, ":")
	if found && strings.ContainsAny(rest, "@:") { // user:password@host, and the like
		return begin + ":…"
	}
	if i := strings.IndexAny(text, "?="); i >= 0 { // options
		return text[:i+1] + "…"
	}
	return text
}

func isPostgres(text string) bool {
	return strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://")
}

// splitDatabases splits URLs at commas, but not a URL that names several hosts.
func splitDatabases(text string) []string {
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); len(all) > 0 && !isPostgres(part) {
			all[len(all)-1] += "," + part
		} else {
			all = append(all, part)
		}
	}
	return all
}

// shared reports whether the data is in databases that other machines may use as well.
func (p place) shared() bool { return len(p.databases) > 0 }

// String says for people where the data is.
func (p place) String() string {
	if p.shared() {
		var all []string
		for _, d := range p.databases { // without user, password and options
			if u, err := url.Parse(d); err == nil {
				d = u.Host + u.Path
			} else {
				d = "?"
			}
			all = append(all, d)
		}
		return "PostgreSQL " + strings.Join(all, ", ")
	}
	if p.dir == "" {
		return "in memory: gone when this process ends"
	}
	return p.store
}

// where says for people, wherever they are, where the data is.
func (p place) where() string {
	if p.shared() || p.dir == "" {
		return p.String()
	}
	path, err := filepath.Abs(p.dir)
	if err != nil {
		return p.dir
	}
	return path
}

// exists says whether there is any data.
func (p place) exists() (bool, error) {
	if p.shared() {
		return true, nil // as far as can be told from here
	}
	_, err := os.Stat(p.store)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// canBeMade says early what would keep the folder from being made. It leaves nothing behind.
func (p place) canBeMade() error {
	above := filepath.Clean(p.dir)
	for {
		if _, err := os.Stat(above); err == nil || filepath.Dir(above) == above {
			break
		}
		above = filepath.Dir(above)
	}
	probe, err := os.MkdirTemp(above, localFolder+"-")
	if err != nil {
		return fmt.Errorf("the data folder %s can't be made: %w", p.dir, err)
	}
	return os.Remove(probe)
}

// open opens the store, making folders that are missing, closed to others. An error that is
// [store.ErrInUse] says that another process has it.
func (p place) open(ctx context.Context, log *slog.Logger) (store.Store, error) {
	if p.shared() {
		return p.openAlone(ctx, log)
	}
	if p.dir == "" {
		return memstore.New(nil), nil
	}
	st, err := pebblestore.Open(p.store, &pebblestore.Options{Logger: log})
	if err != nil { // not a nil *pebblestore.Store in an interface
		return nil, err
	}
	return st, nil
}

// openPatience is how long databases may take to be opened: the lease of a process that
// has died is waited for.
const openPatience = time.Minute

// openAlone opens databases for this process alone.
func (p place) openAlone(ctx context.Context, log *slog.Logger) (store.Store, error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	st, placement, err := cluster.OpenAlone(ctx, p.databases, &pgstore.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	return aloneStore{st, placement}, nil
}

// aloneStore is databases that this process holds alone, and by what it knows that it still does.
type aloneStore struct {
	*pgstore.Store
	placement *cluster.Alone
}

// key returns the key that credentials are sealed under, made when first needed.
func (p place) key() *accounts.Key {
	if p.dir == "" {
		return accounts.MemoryKey()
	}
	return accounts.KeyFile(filepath.Join(p.dir, "key"))
}
