package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/perdure/perdure/store"
)

// classesKey is the metadata record that says which classes the store knows.
const classesKey = "classes"

// classRecords is what stands under classesKey.
type classRecords struct {
	Next    uint32                 `json:"next"` // number of the next namespace
	Classes map[string]classRecord `json:"classes"`
	Applied []string               `json:"applied,omitempty"` // tags of migrations, in order
}

type classRecord struct {
	Number    uint32 `json:"number"` // what the storage of its objects is prefixed by
	UniqueKey string `json:"uniqueKey"`
	Deleting  bool   `json:"deleting,omitempty"` // a migration that deletes it has begun
}

func (r *classRecords) enter(name, uniqueKey string) {
	if _, ok := r.Classes[name]; !ok {
		r.Next++
		r.Classes[name] = classRecord{Number: r.Next, UniqueKey: uniqueKey}
	}
}

// updateMeta replaces a metadata record by what change makes of it, whatever else changes it meanwhile.
func updateMeta(s store.Store, key string, change func(old []byte) ([]byte, error)) error {
	for {
		old, err := s.Meta(context.Background(), key)
		if err != nil {
			return err
		}
		value, err := change(old)
		if err != nil {
			return fmt.Errorf("record %q: %w", key, err)
		}
		if string(value) == string(old) {
			return nil
		}
		if done, err := s.SwapMeta(context.Background(), key, old, value); done || err != nil {
			return err
		}
	}
}

func updateClasses(s store.Store, change func(r *classRecords) error) (classRecords, error) {
	var r classRecords
	err := updateMeta(s, classesKey, func(old []byte) ([]byte, error) {
		r = classRecords{}
		if old != nil {
			if err := json.Unmarshal(old, &r); err != nil {
				return nil, err
			}
		}
		if r.Classes == nil {
			r.Classes = make(map[string]classRecord)
		}
		if err := change(&r); err != nil {
			return nil, err
		}
		return json.Marshal(r)
	})
	if err != nil {
		return r, storeError("classes", err)
	}
	return r, nil
}

func enterClasses(_ context.Context, s store.Store, classes []*namespace) (classRecords, error) {
	return updateClasses(s, func(r *classRecords) error {
		for _, n := range classes {
			if r.Classes[n.class.name].Deleting {
				return fmt.Errorf("class %s is being deleted by a migration that has not finished", n.class.name)
			}
			r.enter(n.class.name, n.class.opts.UniqueKey)
		}
		return nil
	})
}

// Migration is a step in the history of a program's classes.
type Migration struct {
	Tag     string
	New     []ClassKey        // classes that begin here
	Renamed map[string]string // old name to new name; objects keep ids and data
	Deleted []string          // classes whose objects are deleted, with all their data
}

// ClassKey names a class and the unique key of its namespace, "" for its name.
type ClassKey struct{ Name, UniqueKey string }

// AppliedMigrations returns the tags of the migrations that Migrate has applied to the store, in order.
func AppliedMigrations(s store.Store) ([]string, error) {
	r, err := updateClasses(s, func(*classRecords) error { return nil })
	return r.Applied, err
}

// Migrate applies migrations to a store, in order, and records their tags; it
// must not be in use by a Runtime. Those recorded already are skipped. It may be
// repeated after a crash at any moment.
func Migrate(s store.Store, migrations []Migration) error {
	for _, m := range migrations {
		if err := migrate(s, m); err != nil {
			return fmt.Errorf("migration %q: %w", m.Tag, err)
		}
	}
	return nil
}

func migrate(s store.Store, m Migration) error {
	r, err := updateClasses(s, func(r *classRecords) error {
		if slices.Contains(r.Applied, m.Tag) {
			return nil
		}
		for _, name := range m.Deleted {
			if c, ok := r.Classes[name]; ok {
				c.Deleting = true
				r.Classes[name] = c
			}
		}
		return nil
	})
	if err != nil || slices.Contains(r.Applied, m.Tag) {
		return err
	}
	for _, name := range m.Deleted {
		if c, ok := r.Classes[name]; ok {
			if err := deleteObjects(s, c.Number); err != nil {
				return fmt.Errorf("delete class %s: %w", name, err)
			}
		}
	}
	_, err = updateClasses(s, func(r *classRecords) error {
		for _, name := range m.Deleted {
			delete(r.Classes, name)
		}
		for from, to := range m.Renamed {
			c, ok := r.Classes[from]
			if !ok {
				continue // nothing was ever stored under the old name
			}
			if _, taken := r.Classes[to]; taken {
				return fmt.Errorf("rename %s to %s: that class exists", from, to)
			}
			delete(r.Classes, from)
			r.Classes[to] = c
		}
		for _, k := range m.New {
			if k.UniqueKey == "" {
				k.UniqueKey = k.Name
			}
			r.enter(k.Name, k.UniqueKey)
		}
		r.Applied = append(r.Applied, m.Tag)
		return nil
	})
	return err
}

// deleteObjects deletes all objects of a namespace, a page at a time.
func deleteObjects(s store.Store, namespace uint32) error {
	for {
		var commits []store.Commit
		err := s.Objects(context.Background(), namespace, [32]byte{}, func(id [32]byte, h *store.Header) bool {
			commits = append(commits, s.Apply(&store.Batch{
				Object: store.Object{Namespace: namespace, ID: id}, Prev: h, DeleteAll: true,
			}))
			return len(commits) < 1000
		})
		for _, c := range commits {
			err = errors.Join(err, c.Wait())
		}
		if err != nil || len(commits) == 0 {
			return err
		}
	}
}
