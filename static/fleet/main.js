// The fleet page: which parts there are.

import { startCreate } from './create.js';
import { startDetail } from './detail.js';
import { startFeed } from './feed.js';
import { startLink } from './link.js';
import { startLog } from './log.js';
import { startPools } from './pools.js';
import { startSessions } from './sessions.js';
import { startSummary } from './summary.js';

startLink();
startSummary();
startSessions();
startPools();
startDetail();
startLog();
startCreate();
startFeed();
