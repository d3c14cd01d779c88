package accounts_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
	"github.com/perdure/perdure/store"
)

// bed is the users of a runtime that may crash.
type bed struct {
	*durabletest.Runtime
	*accounts.Accounts
	t   *testing.T
	key *accounts.Key
}

func newBed(t *testing.T) *bed {
	b := &bed{t: t, key: accounts.MemoryKey()}
	b.Runtime = durabletest.New(t, &durable.Options{Classes: accounts.Classes()})
	b.Accounts = accounts.New(b.Runtime.Runtime, b.key)
	return b
}

func (b *bed) crash() {
	b.Crash()
	b.Accounts = accounts.New(b.Runtime.Runtime, b.key)
}

func (b *bed) add(name string) (accounts.User, string) {
	b.t.Helper()
	u, token, err := b.Add(b.t.Context(), name)
	if err != nil {
		b.t.Fatalf("Add(%q) = %v", name, err)
	}
	return u, token
}

// login does what whoever stands in front does.
func (b *bed) login(name, password string) error {
	u, err := b.Find(b.t.Context(), name)
	if err != nil {
		return err
	}
	return b.Verify(b.t.Context(), u, password)
}

func (b *bed) names() []string {
	b.t.Helper()
	all, err := b.List(b.t.Context(), "", 100)
	if err != nil {
		b.t.Fatal(err)
	}
	names := []string{}
	for _, u := range all {
		names = append(names, u.Name)
	}
	return names
}

func TestLogin(t *testing.T) {
	b := newBed(t)
	ann, token := b.add("ann")
	_, other := b.add("bob@example.org")
	id, secret, _ := strings.Cut(token, ".")
	if id != ann.ID {
		t.Fatalf("token %q is not of id %q", token, ann.ID)
	}
	check := func() {
		t.Helper()
		for _, c := range []struct {
			name, password string
			want           error
		}{
			{"ann", token, nil},
			{"ann", secret, nil},
			{ann.ID, token, nil},
			{ann.ID, secret, nil},
			{"ann", "", accounts.ErrRefused},
			{"ann", ".", accounts.ErrRefused},
			{"ann", "." + secret, nil}, // no id is no wrong one
			{"ann", id + ".", accounts.ErrRefused},
			{"ann", secret[:42], accounts.ErrRefused},
			{"ann", token + "x", accounts.ErrRefused},
			{"ann", other, accounts.ErrRefused},
			{"ann", strings.Split(other, ".")[1], accounts.ErrRefused},
			{"ann", strings.Split(other, ".")[0] + "." + secret, accounts.ErrRefused},
			{"nobody", token, accounts.ErrNoUser},
			{"Ann", token, accounts.ErrNoUser},
			{"me", token, accounts.ErrNoUser},
			{"", token, accounts.ErrNoUser},
			{strings.Repeat("a", 5000), token, accounts.ErrNoUser},
		} {
			if err := b.login(c.name, c.password); !errors.Is(err, c.want) {
				t.Errorf("login(%.20q, %q) = %v, want %v", c.name, c.password, err, c.want)
			}
		}
	}
	check()
	b.crash()
	check()
	if u, err := b.FindByToken(t.Context(), token); err != nil || u.ID != ann.ID {
		t.Errorf("FindByToken = %v, %v, want ann", u, err)
	}
	for _, token := range []string{"ann." + secret, secret, "", "." + secret} {
		if u, err := b.FindByToken(t.Context(), token); !errors.Is(err, accounts.ErrNoUser) {
			t.Errorf("FindByToken(%q) = %v, %v, want ErrNoUser", token, u, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"ann": true, "a": true, "0": true, "a.b_c@d-e": true, strings.Repeat("a", 64): true, "u_short": true,
		"": false, "me": false, "Ann": false, ".a": false, "-a": false, "a b": false, "a/b": false, "a:b": false, "ä": false, "a\x00": false,
		strings.Repeat("a", 65): false, "u_" + strings.Repeat("a", 26): false,
	} {
		err := accounts.CheckName(name)
		if (err == nil) != ok || (err != nil && !errors.Is(err, accounts.ErrInvalidName)) {
			t.Errorf("CheckName(%q) = %v, want valid: %t", name, err, ok)
		}
	}
	b := newBed(t)
	if _, _, err := b.Add(t.Context(), "Ann"); !errors.Is(err, accounts.ErrInvalidName) {
		t.Errorf("Add(Ann) = %v, want ErrInvalidName", err)
	}
	b.add("ann")
	if _, _, err := b.Add(t.Context(), "ann"); !errors.Is(err, accounts.ErrNameTaken) {
		t.Errorf("second Add(ann) = %v, want ErrNameTaken", err)
	}
	if n := len(b.Objects(accounts.UserClass)); n != 1 {
		t.Errorf("%d user objects after a refused Add, want 1", n)
	}
}

func TestListInPages(t *testing.T) {
	b := newBed(t)
	want := []string{}
	for i := range 25 {
		name := fmt.Sprintf("user%02d", i)
		b.add(name)
		want = append(want, name)
	}
	got, after := []string{}, ""
	for range 3 {
		page, err := b.List(t.Context(), after, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page {
			got = append(got, u.Name)
			after = u.Name
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("List in pages (-want +got):\n%s", diff)
	}
}

func TestRemoveAndErase(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	ann, token := b.add("ann")
	if err := b.SetCredential(ctx, ann.ID, credential); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ChangeSettings(ctx, ann.ID, func([]byte) ([]byte, error) { return []byte(`{"a":1}`), nil }); err != nil {
		t.Fatal(err)
	}
	if err := b.Erase(ctx, ann.ID); !errors.Is(err, accounts.ErrNotRemoved) {
		t.Errorf("Erase of a user = %v, want ErrNotRemoved", err)
	}
	if _, err := b.Remove(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(strings.Split(token, ".")[1]))
	for key, value := range b.stored(ann.ID) {
		if key == "c" || bytes.Contains(value, sum[:]) {
			t.Errorf("key %q of a removed user is still there, or holds the hash of the secret", key)
		}
	}
	if any, err := b.Any(ctx); any || err != nil {
		t.Errorf("Any = %t, %v, want false", any, err)
	}
	if err := b.login("ann", token); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("login of a removed user = %v, want ErrNoUser", err)
	}
	if err := b.Verify(ctx, ann, token); !errors.Is(err, accounts.ErrRefused) {
		t.Errorf("Verify of a user found before the removal = %v, want ErrRefused", err)
	}
	if _, err := b.Credential(ctx, ann.ID); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("Credential of a removed user = %v, want ErrNoUser", err)
	}
	if err := b.SetCredential(ctx, ann.ID, credential); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("SetCredential of a removed user = %v, want ErrNoUser", err)
	}

	// The name is free, for somebody else.
	again, _ := b.add("ann")
	if again.ID == ann.ID {
		t.Errorf("the id %s was given out again", ann.ID)
	}
	if _, err := b.Remove(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Remove(ctx, "ann"); !errors.Is(err, accounts.ErrAmbiguous) {
		t.Errorf("Remove(ann) with two of that name = %v, want ErrAmbiguous", err)
	}
	gone, err := b.ListRemoved(ctx, accounts.User{}, 10)
	if err != nil || len(gone) != 2 || gone[0].Name != "ann" || gone[0].Removed.IsZero() {
		t.Errorf("ListRemoved = %v, %v, want ann twice", gone, err)
	}
	if rest, err := b.ListRemoved(ctx, gone[0], 10); err != nil || len(rest) != 1 || rest[0].ID != gone[1].ID {
		t.Errorf("ListRemoved after the first = %v, %v, want the second", rest, err)
	}
	if u, err := b.Remove(ctx, ann.ID); err != nil || u.ID != ann.ID {
		t.Errorf("Remove by id, again = %v, %v", u, err)
	}
	for _, u := range gone {
		if err := b.Erase(ctx, u.ID); err != nil {
			t.Errorf("Erase = %v", err)
		}
	}
	if n := len(b.Objects(accounts.UserClass)); n != 0 {
		t.Errorf("%d user objects after Erase, want none", n)
	}
	if _, err := b.Remove(ctx, ann.ID); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("Remove after Erase = %v, want ErrNoUser", err)
	}
}

// stored returns what the engine has of a user.
func (b *bed) stored(id string) map[string][]byte {
	b.t.Helper()
	kv := make(map[string][]byte)
	for ns := range uint32(4) {
		o := store.Object{Namespace: ns, ID: b.Namespace(accounts.UserClass).IDFromName(id).Bytes()}
		err := b.Store().Scan(b.t.Context(), o, store.Range{}, func(key, value []byte) bool {
			kv[string(key)] = bytes.Clone(value)
			return true
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	if len(kv) == 0 {
		b.t.Fatalf("nothing is stored of user %s", id)
	}
	return kv
}

// TestAddAtOnce adds one name many times at once: one user comes of it.
func TestAddAtOnce(t *testing.T) {
	b := newBed(t)
	errs := make(chan error)
	const n = 20
	for range n {
		go func() {
			_, _, err := b.Add(t.Context(), "ann")
			errs <- err
		}()
	}
	added := 0
	for range n {
		switch err := <-errs; {
		case err == nil:
			added++
		case !errors.Is(err, accounts.ErrNameTaken):
			t.Errorf("Add = %v, want ErrNameTaken", err)
		}
	}
	if objects := len(b.Objects(accounts.UserClass)); added != 1 || objects != 1 {
		t.Errorf("%d users were added, %d objects are there, want one", added, objects)
	}
}

var errPower = errors.New("power cut")

// TestCrashBetweenSteps takes the power away at each commit of adding and removing.
func TestCrashBetweenSteps(t *testing.T) {
	for n := 0; ; n++ {
		b, ctx := newBed(t), t.Context()
		if _, err := b.Any(ctx); err != nil {
			t.Fatal(err)
		}
		left := n
		b.Store().FailCommits(func(*store.Batch) error {
			if left--; left < 0 {
				return errPower
			}
			return nil
		})
		_, token, err := b.Add(ctx, "ann")
		b.crash()
		if err == nil {
			if n != 2 {
				t.Errorf("Add made %d commits, want 2: this test is about what is between them", n)
			}
			if err := b.login("ann", token); err != nil {
				t.Errorf("login after a crash = %v", err)
			}
			break
		}
		if diff := cmp.Diff([]string{}, b.names()); diff != "" {
			t.Errorf("users after a crash at commit %d (-want +got):\n%s", n, diff)
		}
		if any, _ := b.Any(ctx); any {
			t.Errorf("Any after a crash at commit %d, want none", n)
		}
		// The half that is left can't be used and is in nobody's way.
		for _, o := range b.Objects(accounts.UserClass) {
			if _, err := b.Find(ctx, o.Name); !errors.Is(err, accounts.ErrNoUser) {
				t.Errorf("Find(%s) after a crash = %v, want ErrNoUser", o.Name, err)
			}
		}
		_, token = b.add("ann")
		if err := b.login("ann", token); err != nil {
			t.Errorf("login after adding again = %v", err)
		}
	}

	for n := 0; ; n++ {
		b, ctx := newBed(t), t.Context()
		ann, token := b.add("ann")
		left := n
		b.Store().FailCommits(func(*store.Batch) error {
			if left--; left < 0 {
				return errPower
			}
			return nil
		})
		_, err := b.Remove(ctx, "ann")
		if err == nil {
			err = b.Erase(ctx, ann.ID)
		}
		b.crash()
		if err == nil {
			if n != 4 {
				t.Errorf("Remove and Erase made %d commits, want 4", n)
			}
			break
		}
		_, findErr := b.Find(ctx, "ann")
		verifyErr := b.Verify(ctx, ann, token)
		if n == 0 && (findErr != nil || verifyErr != nil) {
			t.Errorf("a removal that never began: Find = %v, Verify = %v", findErr, verifyErr)
		}
		if n > 0 && !errors.Is(findErr, accounts.ErrNoUser) {
			t.Errorf("Find after a crash at commit %d = %v, want ErrNoUser", n, findErr)
		}
		if _, err := b.Remove(ctx, "ann"); err != nil {
			t.Errorf("Remove after a crash at commit %d = %v", n, err)
		}
		if err := b.Verify(ctx, ann, token); !errors.Is(err, accounts.ErrRefused) {
			t.Errorf("Verify after a removal at commit %d = %v, want ErrRefused", n, err)
		}
		if err := b.Erase(ctx, ann.ID); err != nil {
			t.Errorf("Erase after a crash at commit %d = %v", n, err)
		}
		if n := len(b.Objects(accounts.UserClass)); n != 0 {
			t.Errorf("%d user objects are left", n)
		}
	}
}
