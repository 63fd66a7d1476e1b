// Package config turns environment variables into typed, checked settings.
//
// # A tour
//
// Settings come in small groups, one for each subject: [Log], [SolverDatabase], [Turns], [Flush]. A command embeds the
// groups that it uses in a struct of its own, and fills that struct with one call of [Load]:
//
//	var settings struct {
//		config.Log
//		config.WorkerDatabase
//		config.Shard
//		config.Flush
//	}
//	loaded, err := config.Load(&settings, config.Input{Environment: os.Environ()})
//
// What a command does not embed is not looked at, so a broken variable harms only those who need it. Everything that is
// wrong is reported together: the error is of type [Errors], a line for each variable, with passwords left out. Flags
// of the command line override variables; [Input] takes them, so that the value that will be used is checked, and only
// that one.
//
// Some groups hold the same setting for many things, but a command may use it for one of them: see [Sweeps] and
// [Bursts], which can be narrowed before they are loaded.
//
// # A variable's declaration
//
// A variable is a field of a group, and its declaration says all there is to say: the type gives the format; the
// comment is the documentation for operators, in help texts and in the file development.env; the tags give the rest:
//
//	env       name of the variable
//	default   value of an unset variable; "$NAME-suffix" refers to the effective value of another variable
//	unit      of a time.Duration: "d", "s" or "ms" for a plain number of these; none for a text with a unit, as in 2.5h
//	validate  bounds, in the language of the validator library, and in the variable's unit (seconds, if there is none);
//	          plain numbers with a unit are never negative
//	required  the variable has to be set; the tag's value is the reason to print if it is not
//	unless    a boolean variable; if it is true, this one is not required
//
// What concerns several variables at once is in a table of rules, each of which is applied when all its variables have
// been loaded and none has failed by itself.
//
// Two generated files repeat the declarations, and a test compares them: documentation_gen.go holds the comments of the
// fields, because compiled programs have no comments, and development.env, in the root of the project, lists all
// variables. "make generate" brings both up to date.
//
// # Variables that are not read
//
// Unknown variables are ignored. Among them are these, which belong to other software that the same deployments run, or
// have run: APP_ASSOCIATED_LOGGERS, APP_ROOT_DIR, API_TITLE, API_VERSION, FLASK_APP, FLASK_RUN_PORT, GUNICORN_*,
// OPENAPI_REDOC_PATH, OPENAPI_REDOC_URL, OPENAPI_SWAGGER_UI_PATH, OPENAPI_URL_PREFIX, OPENAPI_VERSION, RESOURCE_SERVER,
// SQLALCHEMY_ECHO, SQLALCHEMY_TRACK_MODIFICATIONS.
package config

//go:generate go test -count=1 -run ^TestGeneratedFiles$ . -update
