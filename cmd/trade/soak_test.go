package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/circular-trade/circular-trade/internal/testenv"
)

// fakeDemo behaves as `trade demo --faults` may: the N-th seed as the N-th word says.
const fakeDemo = `#!/bin/bash
set -- "${@: -1}" # the last argument is the seed
words=(WORDS)
echo 'Faults     killed: worker 3×'
case ${words[$1 - 1]} in
  idle) echo 'Nobody has traded' ;;
  wrong) printf 'M1  BROKEN\nfine\n' && exit 1 ;;
  lasting) touch lasting && exec sleep 60 ;;
esac
`

// It is no success if nothing has been shown.
func TestSoak(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		words  string // what happens with the seeds
		status int
		says   []string
	}{
		"all is well": {"well well", 0, []string{
			"seed 1  well after 0 s  killed: worker 3×", "In 2 of 2 seeds, somebody has traded, and nothing was wrong.",
		}},
		"some idle":   {"idle well", 0, []string{"seed 1  nobody has traded after", "In 1 of 2 seeds, somebody has traded, and"}},
		"all idle":    {"idle", 1, []string{"In 0 of 1 seeds, somebody has", "wrong. That is too little to show anything."}},
		"mostly idle": {"idle well idle", 1, []string{"In 1 of 3 seeds, somebody has", "wrong. That is too little to show anything."}},
		"wrong":       {"well wrong well", 1, []string{"seed 2  WRONG", "M1  BROKEN", "make soak SEED=2 SEEDS=1"}},
		"interrupted at once": {"lasting well", 1, []string{
			"Interrupted. No seed has come to its end, so nothing has been shown.",
		}},
		"interrupted later": {"well lasting well", 0, []string{
			"Interrupted. In 1 of 1 seeds, somebody has traded, and nothing was wrong.",
		}},
		"interrupted when idle": {"idle lasting", 1, []string{"Interrupted. In 0 of 1 seeds", "That is too little to show anything."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, out := soak(t, c.words)
			if status != c.status {
				t.Errorf("it ends with status %d, want %d:\n%s", status, c.status, out)
			}
			for _, text := range c.says {
				if !strings.Contains(out, text) {
					t.Errorf("it does not say %q:\n%s", text, out)
				}
			}
			if strings.Contains(out, "nothing was wrong.\n") != (c.status == 0) {
				t.Errorf("it misleads people:\n%s", out)
			}
		})
	}
}

// soak runs scripts/soak with a fake program, and interrupts it when a seed takes long.
func soak(t *testing.T, words string) (status int, out string) {
	t.Helper()
	script, err := filepath.Abs("../../scripts/soak")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "trade")
	if err := os.WriteFile(program, []byte(strings.Replace(fakeDemo, "WORDS", words, 1)), 0o700); err != nil {
		t.Fatal(err)
	}
	seeds := string(rune('0' + len(strings.Fields(words))))
	cmd := exec.CommandContext(t.Context(), script, program, filepath.Join(dir, "results"), "1", seeds)
	var shown bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &shown, &shown
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(words, "lasting") {
		testenv.Eventually(t, time.Minute, func() error {
			_, err := os.Stat(filepath.Join(dir, "lasting"))
			return err
		})
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait() // the status tells
	return cmd.ProcessState.ExitCode(), shown.String()
}
