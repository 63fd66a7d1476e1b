package testenv_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/testenv"
)

func TestMissingServers(t *testing.T) {
	for variable, use := range map[string]func(*fakeTB){
		"TEST_POSTGRES_URL":          func(fake *fakeTB) { testenv.NewDatabase(fake) },
		"TEST_BROKER_URL":            func(fake *fakeTB) { testenv.NewVirtualHost(fake) },
		"TEST_BROKER_MANAGEMENT_URL": func(fake *fakeTB) { testenv.CloseConnections(fake, "amqp://u@h/v") },
	} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "")
			message := fakeTest(t, use)
			if !strings.HasPrefix(message, variable+" is not set") || !strings.Contains(message, "make test") {
				t.Errorf("without %s a test ends with %q", variable, message)
			}
		})
	}
}

func TestEventually(t *testing.T) {
	t.Parallel()
	calls := 0
	testenv.Eventually(t, time.Minute, func() error {
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if calls != 3 {
		t.Errorf("%d calls, want 3", calls)
	}

	calls = 0
	message := fakeTest(t, func(fake *fakeTB) {
		testenv.Eventually(fake, 30*time.Millisecond, func() error {
			calls++
			return fmt.Errorf("call %d", calls)
		})
	})
	if want := fmt.Sprintf("call %d", calls); calls < 2 || !strings.HasSuffix(message, want) {
		t.Errorf("after %d calls, the test ends with %q, want it to end with %q", calls, message, want)
	}
}

func uniqueKey(t *testing.T) string {
	t.Helper()
	return t.Name() + rand.Text()
}

// fakeTest runs a test to its end, and returns the message that it fails with, or "".
func fakeTest(t *testing.T, test func(*fakeTB)) string {
	t.Helper()
	fake := &fakeTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(fake)
	}()
	<-done
	for _, cleanup := range slices.Backward(fake.cleanups) {
		cleanup()
	}
	return fake.message
}

// fakeTB is a test within a test, which does not fail with it.
type fakeTB struct {
	testing.TB
	cleanups []func()
	message  string
}

func (f *fakeTB) Cleanup(cleanup func()) {
	f.cleanups = append(f.cleanups, cleanup)
}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (f *fakeTB) Fatal(args ...any) {
	f.Fatalf("%s", fmt.Sprint(args...))
}

func (f *fakeTB) Helper() {}
