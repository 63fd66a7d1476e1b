package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// patience is how long a run may last before its progress is shown.
const patience = 500 * time.Millisecond

// A progress shows how far a run has come, on a terminal. A nil progress shows nothing.
type progress struct {
	terminal io.Writer
	start    time.Time
	step     string
	bar      *progressbar.ProgressBar
}

// newProgress returns nil if the writer is not a terminal.
func newProgress(w io.Writer) *progress {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return &progress{terminal: w, start: time.Now()}
}

// bytes shows how many bytes of how many a step has done.
func (p *progress) bytes(step string, done, size int64) {
	p.show(step, done, size, progressbar.OptionShowBytes(true))
}

// share shows which share of a step is done, from 0 to 1.
func (p *progress) share(step string, share float64) {
	const whole = 1000
	p.show(step, int64(share*whole), whole)
}

func (p *progress) show(step string, done, whole int64, options ...progressbar.Option) {
	if p == nil || time.Since(p.start) < patience {
		return
	}
	if p.bar == nil || p.step != step {
		p.close()
		p.step = step
		p.bar = progressbar.NewOptions64(whole, append(options,
			progressbar.OptionSetWriter(p.terminal),
			progressbar.OptionSetDescription(step),
			progressbar.OptionFullWidth(),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)...)
	}
	_ = p.bar.Set64(done) // what cannot be shown is not worth an error
}

// close removes the bar from the terminal.
func (p *progress) close() {
	if p == nil || p.bar == nil {
		return
	}
	_ = p.bar.Clear()
	p.bar = nil
}
