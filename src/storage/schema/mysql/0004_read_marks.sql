-- Up to which message somebody has read, and what he set for a group: the original keeps both in
-- the cache alone. NULL stands for "the original made this row": the cache knows.

alter table IMRecentSession add column `readMsgId` int(11) unsigned null default null,
    add column `readTime` int(11) unsigned not null default '0';
alter table IMGroupMember add column `readMsgId` int(11) unsigned null default null,
    add column `shieldStatus` tinyint(3) unsigned null default null;
