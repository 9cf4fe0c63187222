-- Up to which message somebody has read, and what he set for a group.

alter table IMRecentSession add column `readMsgId` integer null default null
    constraint out_of_range_readMsgId check (`readMsgId` between 0 and 4294967295);
alter table IMRecentSession add column `readTime` integer not null default 0
    constraint out_of_range_readTime check (`readTime` between 0 and 4294967295);
alter table IMGroupMember add column `readMsgId` integer null default null
    constraint out_of_range_readMsgId check (`readMsgId` between 0 and 4294967295);
alter table IMGroupMember add column `shieldStatus` integer null default null
    constraint out_of_range_shieldStatus check (`shieldStatus` between 0 and 255);
