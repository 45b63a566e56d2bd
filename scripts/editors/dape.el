;;; dape.el --- a session of scripts/editors/run.ts in Emacs with dape -*- lexical-binding: t -*-
;; It prints what the editor shows, a line each; run.ts judges.
(require 'dape)
(setq dape-cwd-function (lambda () default-directory))
(load (expand-file-name "configuration.el") nil t)

(defvar run-stops 0)
(defvar run-reason nil)
(defvar run-ends 0)

(defun say (format &rest arguments)
  (princ (concat (apply #'format format arguments) "\n")))

(advice-add 'dape-handle-event :before
            (lambda (_connection event body)
              (pcase event
                ('stopped (setq run-stops (1+ run-stops) run-reason (plist-get body :reason)))
                ('terminated (setq run-ends (1+ run-ends)))
                ('output (when (equal (plist-get body :category) "stdout")
                           (princ (concat "| " (plist-get body :output))))))))

(defmacro wait-for (what condition)
  `(let ((end (+ (float-time) 30)))
     (while (not ,condition)
       (when (> (float-time) end)
         (say "timeout: %s" ,what)
         (kill-emacs 1))
       (accept-process-output nil 0.02))))

(defun connection () (dape--live-connection 'parent t))
(defun idle () (zerop (jsonrpc-continuation-count (connection))))

(defun ask (command arguments)
  "The answer to COMMAND with ARGUMENTS."
  (let (done answer)
    (dape-request (connection) command arguments
                  (lambda (body &optional problem) (setq done t answer (or body problem))))
    (wait-for command done)
    answer))

(defun stop-after (name act)
  "Does ACT, which ends in a stop, and tells of the frames and where point is."
  (let ((before run-stops))
    (call-interactively act)
    (wait-for name (and (> run-stops before)
                        (dape--live-connection 'stopped t)
                        (dape--current-stack-frame (connection))
                        (idle)))
    (say "%s: stopped %s" name run-reason)
    (let* ((frame (dape--current-stack-frame (connection)))
           (thread (list :threadId (dape--thread-id (connection)))))
      (seq-do (lambda (one)
                (say "  frame %s %s:%d" (plist-get one :name)
                     (or (plist-get (plist-get one :source) :name) "-") (plist-get one :line)))
              (plist-get (ask :stackTrace thread) :stackFrames))
      (seq-do (lambda (one) (say "  scope %s" (plist-get one :name)))
              (plist-get (ask :scopes (list :frameId (plist-get frame :id))) :scopes)))
    (when-let* ((buffer (overlay-buffer dape--stack-position-overlay)))
      (with-current-buffer buffer
        (say "  cursor %s:%d" (file-name-nondirectory buffer-file-name)
             (line-number-at-pos (overlay-start dape--stack-position-overlay)))))))

(find-file "main.c")
(re-search-forward "map_shared_info();")
(dape-breakpoint-toggle)
(stop-after "launch" (lambda () (interactive) (dape (dape--config-eval 'hyperstep nil))))
(hyperstep-function-breakpoints '("hypercall:set_trap_table"))
(wait-for "function breakpoints" (idle))
(stop-after "continue" #'dape-continue)
(stop-after "step into" #'dape-step-in)
(stop-after "step out" #'dape-step-out)
(stop-after "continue" #'dape-continue)
(stop-after "step over" #'dape-next)
(dape-evaluate-expression (connection) "walk rip")
(wait-for "evaluate" (idle))
(with-current-buffer "*dape-repl*" (say "%s" (buffer-string)))
(dape-continue (connection))
(wait-for "the end" (and (> run-ends 0) (null (connection))))
(say (if (= run-ends 1) "ended" "ended more than once"))
