package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The entry point of the container image.
const entryPoint = "../../deploy/entrypoint.sh"

// awaitSignal is a program for a shell: it ends with status 42 when a signal comes.
const awaitSignal = `trap 'exit 42' TERM INT HUP; echo ready; read forever`

// newEntryPoint returns the command that a container runs with some arguments. The program says in brackets what it is
// told, except when that is to await a signal.
func newEntryPoint(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	bin := t.TempDir()
	const program = `#!/bin/sh
if [ "$*" = "worker --await-signal" ]; then
  ` + awaitSignal + `
fi
printf trade
printf '[%s]' "$@"
`
	if err := os.WriteFile(filepath.Join(bin, "trade"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, entryPoint, args...)
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin"}
	return cmd
}

// enter runs the entry point.
func enter(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := newEntryPoint(t, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// commandNames returns the names of all commands of the program.
func commandNames() []string {
	root := newRootCommand(nil)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd("help")
	var names []string
	for _, cmd := range root.Commands() {
		names = append(names, cmd.Name())
	}
	return names
}

func TestEntryPoint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want result
	}{
		{nil, result{0, "trade[worker]", ""}},
		{[]string{"--version"}, result{0, "trade[--version]", ""}},
		{[]string{"-h"}, result{0, "trade[-h]", ""}},
		{[]string{"flush_unheard_of"}, result{0, "trade[flush_unheard_of]", ""}},
		{
			[]string{"consume_messages", "--draining-mode", "-q", "two words", "", "it's", "$HOME", "*"},
			result{0, "trade[consume_messages][--draining-mode][-q][two words][][it's][$HOME][*]", ""},
		},
		{[]string{"sh", "-c", `echo "$1"; echo oops >&2; exit 7`, "sh", "a b"}, result{7, "a b\n", "oops\n"}},
		{[]string{"trade", "a b"}, result{0, "trade[a b]", ""}},
	} {
		if got := enter(t, c.args...); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.args, got, c.want)
		}
	}
	if got := enter(t, "wroker"); got.code != 127 || got.stdout != "" || !strings.Contains(got.stderr, "wroker: not found") {
		t.Errorf("a word that is no program: %+v", got)
	}
}

// The entry point knows all commands of the program, and no others.
func TestEntryPointKnowsAllCommands(t *testing.T) {
	t.Parallel()
	names := commandNames()
	for _, name := range names {
		if got := enter(t, name, "more"); got != (result{0, "trade[" + name + "][more]", ""}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	script, err := os.ReadFile(entryPoint)
	if err != nil {
		t.Fatal(err)
	}
	words := 0
	for _, line := range regexp.MustCompile(`(?m)^ {2}([^"()\n]+)\) ;;$`).FindAllStringSubmatch(string(script), -1) {
		for word := range strings.SplitSeq(line[1], "|") {
			pattern := strings.TrimSpace(word)
			words++
			if pattern != "-*" && !slices.ContainsFunc(names, func(name string) bool {
				matches, err := filepath.Match(pattern, name)
				return matches && err == nil
			}) {
				t.Errorf("%s is not a command", pattern)
			}
		}
	}
	if words < 20 {
		t.Errorf("there are only %d words in %s", words, script)
	}
}

// What runs is not a child of the script, so signals reach it.
func TestEntryPointPassesSignals(t *testing.T) {
	t.Parallel()
	for signal, args := range map[syscall.Signal][]string{
		syscall.SIGTERM: {"worker", "--await-signal"},
		syscall.SIGINT:  {"worker", "--await-signal"},
		syscall.SIGHUP:  {"sh", "-c", awaitSignal},
	} {
		cmd := newEntryPoint(t, args...)
		stdin, err := cmd.StdinPipe() // nothing ever comes
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
			t.Fatalf("it says %q, %v", line, err)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 42 {
			t.Errorf("%v: %v", signal, err)
		}
		_ = stdin.Close() // it has been closed by Wait
	}
}
