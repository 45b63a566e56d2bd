-- A session of scripts/editors/run.ts in Neovim with nvim-dap. It prints what the editor shows, a line each; run.ts judges.
local dap = require('dap')
vim.cmd('filetype on')
dofile('configuration.lua')

local stops, reason, ended = 0, nil, false
dap.listeners.after.event_stopped['run'] = function(_, body)
  stops = stops + 1
  reason = body.reason
end
dap.listeners.after.event_terminated['run'] = function() ended = true end
dap.listeners.before.event_output['run'] = function(_, body)
  if body.category == 'stdout' then io.stdout:write('| ' .. body.output) end
end

local function say(...) io.stdout:write(string.format(...) .. '\n') end
local function wait(what, condition)
  if not vim.wait(30000, condition, 20) then
    say('timeout: %s', what)
    vim.cmd('cquit')
  end
end

-- Does something that ends in a stop, and tells of the frames as nvim-dap has them.
local function stop_after(name, act)
  local before = stops
  -- It stays what it was until the frames of the next stop are there.
  if dap.session() then dap.session().current_frame = nil end
  act()
  wait(name, function()
    local session = dap.session()
    local frame = stops > before and session and session.current_frame
    return frame and frame.scopes ~= nil
  end)
  local session = dap.session()
  say('%s: stopped %s', name, reason)
  for _, frame in ipairs(session.threads[session.stopped_thread_id].frames) do
    say('  frame %s %s:%d', frame.name, frame.source and frame.source.name or '-', frame.line)
  end
  for _, scope in ipairs(session.current_frame.scopes) do say('  scope %s', scope.name) end
  say('  cursor %s:%d', vim.fn.expand('%:t'), vim.fn.line('.'))
end

local function session()
  vim.cmd('edit main.c')
  vim.fn.search('map_shared_info();')
  dap.toggle_breakpoint()
  stop_after('launch', dap.continue)
  vim.cmd('FunctionBreakpoints hypercall:set_trap_table')
  stop_after('continue', dap.continue)
  stop_after('step into', dap.step_into)
  stop_after('step out', dap.step_out)
  stop_after('continue', dap.continue)
  stop_after('step over', dap.step_over)
  local answer
  dap.session():evaluate('walk rip', function(err, response) answer = err and err.message or response.result end)
  wait('evaluate', function() return answer ~= nil end)
  say('%s', answer)
  dap.continue()
  wait('the end', function() return ended and dap.session() == nil end)
  say('ended')
end

local well, problem = pcall(session)
if not well then
  say('failed: %s', problem)
  vim.cmd('cquit')
end
vim.cmd('qall!')
